INSERT INTO purges (partition, dry_run, conversions_before, dead_letters_before, audit_before)
SELECT p, $2, today - $3::int, today - $4::int, today - $5::int
FROM generate_series(0, $1::int - 1) AS p, (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock
ON CONFLICT (partition, dry_run) DO UPDATE SET
    asked_at = excluded.asked_at, conversions_before = excluded.conversions_before,
    dead_letters_before = excluded.dead_letters_before, audit_before = excluded.audit_before,
    cursor = NULL, done = false, conversions = 0, dead_letters = 0, audit = 0
