-- The partitions were others: all of it is the first one's.
INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
SELECT tenant, experiment, 0, variation, day, name, sum(n)
FROM json_populate_recordset(NULL::counters, $1::text::json)
GROUP BY tenant, experiment, variation, day, name
ON CONFLICT (tenant, experiment, partition, variation, day, name) DO UPDATE SET n = counters.n + excluded.n
