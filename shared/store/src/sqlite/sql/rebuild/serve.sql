UPDATE experiments
SET definition = ?2, plan_version = ?3, phases = ?4, next_definition = NULL, next_version = NULL,
    revision = revision + 1
WHERE id = ?1
