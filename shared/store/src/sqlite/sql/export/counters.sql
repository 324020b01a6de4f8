SELECT json_object('tenant', tenant, 'experiment', experiment, 'variation', variation,
    'day', date(day * 86400, 'unixepoch'), 'name', name, 'n', n)
FROM counters ORDER BY tenant, experiment, partition, variation, day, name LIMIT ?1 OFFSET ?2
