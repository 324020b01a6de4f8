UPDATE webhooks SET next_at = clock.now + ?2, claim = ?3 FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 AS now) AS clock
WHERE id IN (SELECT id FROM webhooks WHERE next_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 ORDER BY next_at LIMIT ?1)
RETURNING id, tenant, url, secret
