SELECT id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    next_definition, next_version, phases,
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id AND r.done),
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id), purged_at
FROM experiments WHERE tenant = $1 AND (key = $2 OR id = $3)
