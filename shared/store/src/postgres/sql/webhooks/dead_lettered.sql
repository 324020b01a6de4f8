SELECT coalesce(sum(n), 0)::bigint FROM counters WHERE tenant = $1 AND name = 'dead_lettered'
