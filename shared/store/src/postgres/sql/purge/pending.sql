-- A dry run counts as if what a purge would seal were sealed.
SELECT p.partition, p.dry_run, p.conversions_before, p.dead_letters_before, p.audit_before, p.cursor, s.ids
FROM purges p
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(id ORDER BY id), '{}') AS ids FROM experiments
    WHERE p.dry_run AND status IN ('archived', 'deleted') AND next_version IS NULL
      AND archived_at < p.conversions_before::timestamp AT TIME ZONE 'UTC'
) s
WHERE NOT p.done AND p.partition = ANY ($1)
ORDER BY p.dry_run, p.partition
