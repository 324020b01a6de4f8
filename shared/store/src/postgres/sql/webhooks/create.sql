INSERT INTO webhooks (tenant, url, events, secret)
SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM webhooks WHERE tenant = $1) < $5
RETURNING id, url, events, created_at, 0::bigint AS waiting, NULL::timestamptz
