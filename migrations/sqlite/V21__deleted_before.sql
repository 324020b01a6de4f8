-- What was deleted until now has lost its sums: it cannot be restored, unless it was never started.
UPDATE experiments SET archived_at = coalesce(archived_at, CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000) WHERE status = 'deleted';
UPDATE experiments SET purged_at = coalesce(purged_at, CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000) WHERE status = 'deleted' AND started_at IS NOT NULL;
