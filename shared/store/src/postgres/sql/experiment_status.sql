UPDATE experiments
SET status = $2, revision = revision + 1,
    started_at = CASE WHEN $2 = 'running' THEN coalesce(started_at, now()) ELSE started_at END,
    stopped_at = CASE
        WHEN $2 = 'running' THEN NULL
        WHEN $2 = 'stopped' OR ($2 = 'deleted' AND status = 'running') THEN now()
        ELSE stopped_at
    END,
    archived_at = CASE
        WHEN $2 = 'archived' OR ($2 = 'deleted' AND status <> 'archived') THEN now()
        ELSE archived_at
    END
WHERE id = $1
RETURNING id, tenant, key, definition, plan_version, revision, status, created_at, started_at, stopped_at,
    next_definition, next_version, phases,
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id AND r.done),
    (SELECT count(*) FROM rebuilds r WHERE r.experiment = experiments.id), purged_at
