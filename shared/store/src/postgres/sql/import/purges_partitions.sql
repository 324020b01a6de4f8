-- A dry run that begins anew counts anew.
WITH first AS (
    UPDATE purges SET
        conversions = CASE WHEN dry_run AND NOT done THEN 0 ELSE conversions END,
        dead_letters = CASE WHEN dry_run AND NOT done THEN 0 ELSE dead_letters END,
        audit = CASE WHEN dry_run AND NOT done THEN 0 ELSE audit END
    RETURNING dry_run, asked_at, conversions_before, dead_letters_before, audit_before, done
)
INSERT INTO purges (partition, dry_run, asked_at, conversions_before, dead_letters_before, audit_before, done)
SELECT n, dry_run, asked_at, conversions_before, dead_letters_before, audit_before, done
FROM first, generate_series(1, $1::int4 - 1) AS n
