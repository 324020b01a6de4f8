INSERT INTO experiments
    (id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    archived_at, purged_at, next_definition, next_version, phases)
OVERRIDING SYSTEM VALUE
SELECT id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    archived_at, purged_at, next_definition, next_version, phases
FROM json_populate_recordset(NULL::experiments, $1::text::json)
