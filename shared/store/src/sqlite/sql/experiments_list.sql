SELECT id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at FROM experiments
WHERE tenant = ?1 AND id > ?2 AND status <> 'deleted' ORDER BY id LIMIT ?3
