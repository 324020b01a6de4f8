SELECT EXISTS (SELECT 1 FROM webhooks WHERE next_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000)
