-- Whoever was sending is gone.
INSERT INTO webhooks (id, tenant, url, events, secret, created_at, last_number, next_at)
OVERRIDING SYSTEM VALUE
SELECT id, tenant, url, events, secret, created_at, last_number, next_at
FROM json_populate_recordset(NULL::webhooks, $1::text::json)
