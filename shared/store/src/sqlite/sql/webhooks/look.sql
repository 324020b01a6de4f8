UPDATE webhook_looks SET at = clock.now FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 AS now) AS clock
WHERE name = 'facts' AND at <= clock.now - ?1
