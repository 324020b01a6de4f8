INSERT INTO rebuilds (experiment, partition, version)
SELECT $1, n, $2 FROM settings, generate_series(0, value::int4 - 1) AS n WHERE name = 'partitions'
ON CONFLICT (experiment, partition) DO UPDATE SET version = excluded.version, cursor = NULL, done = false
