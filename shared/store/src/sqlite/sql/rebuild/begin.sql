WITH RECURSIVE numbers (n) AS (
    SELECT 0 UNION ALL
    SELECT n + 1 FROM numbers, settings WHERE name = 'partitions' AND n + 1 < CAST(value AS INTEGER)
)
INSERT INTO rebuilds (experiment, partition, version) SELECT ?1, n, ?2 FROM numbers WHERE true
ON CONFLICT (experiment, partition) DO UPDATE SET version = excluded.version, cursor = NULL, done = 0
