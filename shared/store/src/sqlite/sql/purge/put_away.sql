-- What a purge would seal: a dry run counts as if it were.
SELECT id FROM experiments
WHERE status IN ('archived', 'deleted') AND next_version IS NULL AND archived_at < ?1 * 86400000000 ORDER BY id
