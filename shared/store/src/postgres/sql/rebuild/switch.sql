UPDATE experiments
SET definition = next_definition, plan_version = next_version, next_definition = NULL, next_version = NULL,
    revision = revision + 1
WHERE id = $1 AND next_version IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM rebuilds r WHERE r.experiment = $1 AND NOT r.done)
