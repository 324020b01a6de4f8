SELECT id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    next_definition, next_version, phases,
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id AND r.done),
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id), purged_at
FROM experiments
WHERE tenant = $1 AND id > $2 AND status <> 'deleted' AND ($3::text IS NULL OR status = $3)
    AND ($4::text IS NULL OR definition::jsonb -> 'labels' ? $4)
ORDER BY id LIMIT $5
