SELECT coalesce(sum(n), 0) FROM counters WHERE tenant = ?1 AND name = 'dead_lettered'
