SELECT json_object('unit', hex(unit), 'tenant', tenant, 'actor', actor, 'request_id', request_id)
FROM erasures ORDER BY unit LIMIT ?1 OFFSET ?2
