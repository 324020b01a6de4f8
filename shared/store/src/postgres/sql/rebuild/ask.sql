UPDATE experiments SET next_definition = $2, next_version = $3, phases = $4, revision = revision + 1 WHERE id = $1
