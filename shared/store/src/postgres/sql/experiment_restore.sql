UPDATE experiments
SET status = CASE WHEN started_at IS NULL THEN 'draft' ELSE 'stopped' END, revision = revision + 1
WHERE id = $1
RETURNING id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    next_definition, next_version, phases,
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id AND r.done),
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id), purged_at
