INSERT INTO counters (tenant, experiment, variation, name, n, partition, day)
SELECT c.*, $6, $7
FROM unnest($1::text[], $2::int8[], $3::int2[], $4::text[], $5::int8[]) AS c
ON CONFLICT (tenant, experiment, partition, variation, day, name)
DO UPDATE SET n = counters.n + excluded.n
