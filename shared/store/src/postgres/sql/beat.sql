-- Everybody by the clock of the database; the statement's own row is not yet in its snapshot.
WITH me AS (
    INSERT INTO workers (worker, beat, pids, started) VALUES ($1, clock_timestamp(), $2, $3)
    ON CONFLICT (worker) DO UPDATE SET beat = excluded.beat, pids = excluded.pids, started = excluded.started
    RETURNING worker
)
SELECT worker, false AS silent FROM me
UNION ALL
SELECT worker, beat < clock_timestamp() - interval '3 seconds' FROM workers WHERE worker <> $1
ORDER BY worker
