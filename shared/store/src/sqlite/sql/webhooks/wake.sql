UPDATE webhooks SET next_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000
WHERE tenant = ?1 AND next_at IS NULL
    AND EXISTS (SELECT 1 FROM webhook_deliveries AS d WHERE d.webhook = webhooks.id AND d.state = 'waiting')
