SELECT count(*) FROM dead_letters WHERE partition = ?1 AND created_at < ?2 * 86400000000
