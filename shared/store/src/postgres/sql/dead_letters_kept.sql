SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE tenant = $1 AND digest IS NULL LIMIT $2) AS kept
