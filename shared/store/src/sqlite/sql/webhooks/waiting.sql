SELECT count(*), coalesce(CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 - min(created_at), 0) FROM webhook_deliveries WHERE state = 'waiting'
