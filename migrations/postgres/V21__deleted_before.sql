-- What was deleted until now has lost its sums: it cannot be restored, unless it was never started.
UPDATE experiments SET archived_at = coalesce(archived_at, now()) WHERE status = 'deleted';
UPDATE experiments SET purged_at = coalesce(purged_at, now()) WHERE status = 'deleted' AND started_at IS NOT NULL;
