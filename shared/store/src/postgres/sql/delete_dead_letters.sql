WITH gone AS (
    DELETE FROM dead_letters WHERE tenant = $1 AND id = ANY ($2) RETURNING id, experiment, partition, events
), redriven AS (
    INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
    SELECT $1, experiment, partition, -1, (now() AT TIME ZONE 'UTC')::date, 'redriven', sum(events)
    FROM gone WHERE $3 GROUP BY experiment, partition ORDER BY experiment, partition
    ON CONFLICT (tenant, experiment, partition, variation, day, name) DO UPDATE SET n = counters.n + excluded.n
)
SELECT id FROM gone ORDER BY id
