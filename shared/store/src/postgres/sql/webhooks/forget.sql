DELETE FROM webhook_deliveries AS d USING (
    SELECT webhook, number FROM webhook_deliveries WHERE ended_at < now() - $1 * interval '1 microsecond' LIMIT $2
) AS old WHERE d.webhook = old.webhook AND d.number = old.number
