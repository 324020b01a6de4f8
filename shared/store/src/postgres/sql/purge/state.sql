SELECT min(asked_at), min(conversions_before), min(dead_letters_before), min(audit_before),
       sum(conversions)::int8, sum(dead_letters)::int8, sum(audit)::int8, count(*) FILTER (WHERE done), count(*)
FROM purges WHERE dry_run = $1
HAVING count(*) > 0
