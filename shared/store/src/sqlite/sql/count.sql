INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (tenant, experiment, partition, variation, day, name)
DO UPDATE SET n = n + excluded.n
