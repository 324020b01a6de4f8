SELECT id, url, events, created_at,
    (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook = w.id AND d.state = 'waiting') AS waiting, next_at
FROM webhooks AS w WHERE tenant = ?1 ORDER BY id
