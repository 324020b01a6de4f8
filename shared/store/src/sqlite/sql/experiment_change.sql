UPDATE experiments SET definition = ?2, plan_version = ?3, revision = revision + 1 WHERE id = ?1
RETURNING id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at
