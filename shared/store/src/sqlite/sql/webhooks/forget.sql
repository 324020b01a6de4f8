DELETE FROM webhook_deliveries WHERE (webhook, number) IN (
    SELECT webhook, number FROM webhook_deliveries WHERE ended_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 - ?1 LIMIT ?2)
