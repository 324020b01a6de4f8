UPDATE webhook_deliveries SET attempts = attempts + 1, tried_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000
WHERE webhook = ?1 AND number = (SELECT min(number) FROM webhook_deliveries WHERE webhook = ?1 AND state = 'waiting')
RETURNING number, id, event, body, attempts
