-- The lock of acquire.sql.
SELECT pg_advisory_unlock(1633841249, $1)
