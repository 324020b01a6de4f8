WITH RECURSIVE numbers (n) AS (
    SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?1
), clock (today) AS (SELECT unixepoch() / 86400)
INSERT INTO purges (partition, dry_run, conversions_before, dead_letters_before, audit_before)
SELECT n, ?2, today - ?3, today - ?4, today - ?5 FROM numbers, clock WHERE true
ON CONFLICT (partition, dry_run) DO UPDATE SET
    asked_at = excluded.asked_at, conversions_before = excluded.conversions_before,
    dead_letters_before = excluded.dead_letters_before, audit_before = excluded.audit_before,
    cursor = NULL, done = 0, conversions = 0, dead_letters = 0, audit = 0
