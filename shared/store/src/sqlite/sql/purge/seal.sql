-- Put away, by archiving or deleting, for as long as rows are kept.
UPDATE experiments SET purged_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000, revision = revision + 1
WHERE status IN ('archived', 'deleted') AND purged_at IS NULL AND next_version IS NULL
  AND archived_at < (unixepoch() / 86400 - ?1) * 86400000000
RETURNING id, tenant, status = 'deleted'
