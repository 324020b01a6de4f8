-- The partitions were others: one that is not done begins anew, and what is gone so far was the first one's.
INSERT INTO purges AS p
    (partition, dry_run, asked_at, conversions_before, dead_letters_before, audit_before, done, conversions, dead_letters, audit)
SELECT 0, dry_run, min(asked_at), min(conversions_before), min(dead_letters_before), min(audit_before), bool_and(done),
    sum(conversions), sum(dead_letters), sum(audit)
FROM json_populate_recordset(NULL::purges, $1::text::json) GROUP BY dry_run
ON CONFLICT (partition, dry_run) DO UPDATE SET
    asked_at = least(p.asked_at, excluded.asked_at),
    conversions_before = least(p.conversions_before, excluded.conversions_before),
    dead_letters_before = least(p.dead_letters_before, excluded.dead_letters_before),
    audit_before = least(p.audit_before, excluded.audit_before),
    done = p.done AND excluded.done, conversions = p.conversions + excluded.conversions,
    dead_letters = p.dead_letters + excluded.dead_letters, audit = p.audit + excluded.audit
