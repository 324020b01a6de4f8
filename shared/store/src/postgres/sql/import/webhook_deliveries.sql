INSERT INTO webhook_deliveries
    (webhook, number, id, event, body, state, attempts, status, error, created_at, tried_at, ended_at)
SELECT webhook, number, id, event, body, state, attempts, status, error, created_at, tried_at, ended_at
FROM json_populate_recordset(NULL::webhook_deliveries, $1::text::json)
