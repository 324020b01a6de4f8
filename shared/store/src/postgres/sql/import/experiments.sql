INSERT INTO experiments
    (id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    archived_at, purged_at)
OVERRIDING SYSTEM VALUE
SELECT id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    archived_at, purged_at
FROM json_populate_recordset(NULL::experiments, $1::text::json)
