SELECT partition, unit, tenant, actor, request_id FROM erasures WHERE partition = ?1 ORDER BY unit LIMIT 100
