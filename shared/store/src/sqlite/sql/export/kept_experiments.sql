SELECT id, tenant, key, definition, plan_version, revision, CASE status WHEN 'deleted' THEN 'archived' ELSE status END,
    created_at, started_at, stopped_at, next_definition, next_version, phases,
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id AND r.done),
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id), purged_at
FROM experiments ORDER BY id
