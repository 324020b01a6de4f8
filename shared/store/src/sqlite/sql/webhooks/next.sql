UPDATE webhooks SET claim = NULL, next_at = CASE
    WHEN ?2 IS NOT NULL THEN CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 + ?2
    WHEN EXISTS (SELECT 1 FROM webhook_deliveries AS d WHERE d.webhook = ?1 AND d.state = 'waiting') THEN CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000
END WHERE id = ?1
