SELECT min(asked_at), min(conversions_before), min(dead_letters_before), min(audit_before),
       sum(conversions), sum(dead_letters), sum(audit), count(*) FILTER (WHERE done), count(*)
FROM purges WHERE dry_run = ?1
HAVING count(*) > 0
