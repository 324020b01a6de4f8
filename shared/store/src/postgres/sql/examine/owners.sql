-- Locks of class 'abpa', as acquire.sql takes them.
WITH held AS (
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1633841249 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), seen AS (
    SELECT pids, beat < clock_timestamp() - interval '3 seconds' AS silent FROM workers
)
SELECT (SELECT count(*) FROM seen WHERE NOT silent), (SELECT count(*) FROM seen WHERE silent),
       (SELECT count(*) FROM held),
       (SELECT count(*) FROM held WHERE EXISTS (SELECT 1 FROM seen WHERE silent AND held.pid = ANY (pids)))
