SELECT id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at FROM experiments WHERE tenant = ?1 AND (key = ?2 OR id = ?3)
