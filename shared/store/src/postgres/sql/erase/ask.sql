INSERT INTO erasures (unit, partition, tenant, actor, request_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (unit) DO NOTHING
