SELECT json_object('tenant', tenant, 'experiment', experiment, 'revision', revision, 'state', state)
FROM webhook_marks ORDER BY tenant, experiment LIMIT ?1 OFFSET ?2
