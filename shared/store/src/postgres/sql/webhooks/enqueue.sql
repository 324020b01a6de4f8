WITH told AS (
    UPDATE webhooks SET last_number = last_number + 1
    WHERE tenant = $1 AND CASE WHEN $2::bigint IS NULL THEN $3 = ANY (events) ELSE id = $2 END
    RETURNING id, last_number,
        (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook = webhooks.id AND d.state = 'waiting') < $5 AS room
), added AS (
    INSERT INTO webhook_deliveries (webhook, number, event, body, state, error, ended_at)
    SELECT id, last_number, $3, $4, CASE WHEN room THEN 'waiting' ELSE 'given_up' END,
        CASE WHEN room THEN NULL ELSE 'too_many_waiting' END, CASE WHEN room THEN NULL ELSE now() END
    FROM told RETURNING webhook, number, id, state
)
SELECT webhook, number, id, state = 'given_up' FROM added
