INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
SELECT tenant, experiment, partition, -1, unixepoch() / 86400, 'redriven', events
FROM dead_letters WHERE tenant = ?1 AND id = ?2
ON CONFLICT (tenant, experiment, partition, variation, day, name) DO UPDATE SET n = n + excluded.n
