SELECT number, id, event, state, attempts, status, error, created_at, tried_at
FROM webhook_deliveries WHERE webhook = ?1 AND number < ?2 AND (?3 IS NULL OR state = ?3)
ORDER BY number DESC LIMIT ?4
