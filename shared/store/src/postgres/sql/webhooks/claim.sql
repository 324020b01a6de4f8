WITH due AS (
    SELECT id FROM webhooks WHERE next_at <= now() ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE webhooks AS w SET next_at = now() + $2 * interval '1 microsecond', claim = $3 FROM due WHERE w.id = due.id
    RETURNING w.id, w.tenant, w.url, w.secret
), first AS (
    SELECT c.id, min(d.number) AS number FROM claimed AS c
    JOIN webhook_deliveries AS d ON d.webhook = c.id AND d.state = 'waiting' GROUP BY c.id
)
UPDATE webhook_deliveries AS d SET attempts = d.attempts + 1, tried_at = now()
FROM first JOIN claimed AS c ON c.id = first.id
WHERE d.webhook = first.id AND d.number = first.number AND d.state = 'waiting'
RETURNING d.webhook, d.number, d.id, d.event, d.body, d.attempts, c.tenant, c.url, c.secret
