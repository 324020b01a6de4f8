-- Put away, by archiving or deleting, for as long as rows are kept. In order, as whoever locks several does.
UPDATE experiments SET purged_at = now(), revision = revision + 1
WHERE id IN (
    SELECT id FROM experiments
    WHERE status IN ('archived', 'deleted') AND purged_at IS NULL AND next_version IS NULL
      AND archived_at < ((now() AT TIME ZONE 'UTC')::date - $1::int) AT TIME ZONE 'UTC'
    ORDER BY id FOR UPDATE
)
RETURNING id, tenant, status = 'deleted'
