UPDATE webhooks SET next_at = now()
WHERE tenant = $1 AND next_at IS NULL
    AND EXISTS (SELECT 1 FROM webhook_deliveries AS d WHERE d.webhook = webhooks.id AND d.state = 'waiting')
