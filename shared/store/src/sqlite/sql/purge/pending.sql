SELECT partition, dry_run, conversions_before, dead_letters_before, audit_before, cursor
FROM purges WHERE NOT done AND partition = ?1 ORDER BY dry_run
