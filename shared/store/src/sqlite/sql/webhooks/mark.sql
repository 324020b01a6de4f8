INSERT INTO webhook_marks (tenant, experiment, revision, state) VALUES (?1, ?2, 1, ?4)
ON CONFLICT (tenant, experiment) DO UPDATE SET revision = webhook_marks.revision + 1, state = excluded.state
WHERE webhook_marks.revision = ?3
