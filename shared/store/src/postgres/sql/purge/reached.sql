-- Partitions whose last purge takes as much.
SELECT count(*)
FROM purges, (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock
WHERE NOT dry_run AND partition < $1
  AND ($2::int IS NULL OR conversions_before >= today - $2)
  AND ($3::int IS NULL OR dead_letters_before >= today - $3)
  AND ($4::int IS NULL OR audit_before >= today - $4)
