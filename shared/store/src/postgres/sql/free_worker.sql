-- A pid alone may be another session's by now.
WITH gone AS (
    DELETE FROM workers WHERE worker = $1 AND beat < clock_timestamp() - interval '3 seconds' RETURNING pids, started
)
SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))
FROM gone, unnest(gone.pids, gone.started) AS s (pid, started)
JOIN pg_stat_activity a ON a.pid = s.pid AND a.backend_start = s.started
