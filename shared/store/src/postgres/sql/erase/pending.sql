SELECT partition, unit, tenant, actor, request_id FROM erasures WHERE partition = ANY ($1)
ORDER BY partition, unit LIMIT 100
