SELECT count(*), (coalesce(extract(epoch FROM now() - min(created_at)), 0) * 1000000)::bigint
FROM webhook_deliveries WHERE state = 'waiting'
