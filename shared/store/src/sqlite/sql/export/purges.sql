SELECT json_object('dry_run', json(CASE WHEN dry_run THEN 'true' ELSE 'false' END),
    'asked_at', strftime('%Y-%m-%dT%H:%M:%S', asked_at / 1000000, 'unixepoch') || printf('.%06dZ', asked_at % 1000000),
    'conversions_before', date(conversions_before * 86400, 'unixepoch'), 'dead_letters_before', date(dead_letters_before * 86400, 'unixepoch'),
    'audit_before', date(audit_before * 86400, 'unixepoch'), 'done', json(CASE WHEN done THEN 'true' ELSE 'false' END),
    'conversions', conversions, 'dead_letters', dead_letters, 'audit', audit)
FROM purges ORDER BY partition, dry_run LIMIT ?1 OFFSET ?2
