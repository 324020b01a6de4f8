INSERT INTO webhook_deliveries (webhook, number, id, event, body, state, error, ended_at)
SELECT ?1, ?2, ?3, ?4, ?5, CASE WHEN room THEN 'waiting' ELSE 'given_up' END,
    CASE WHEN room THEN NULL ELSE 'too_many_waiting' END, CASE WHEN room THEN NULL ELSE now END
FROM (SELECT (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook = ?1 AND d.state = 'waiting') < ?6 AS room,
    CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 AS now) AS here
RETURNING state = 'given_up'
