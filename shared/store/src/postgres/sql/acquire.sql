-- Session locks of class 'abpa'; freed when the connection ends.
SELECT p FROM unnest($1::int2[]) AS p WHERE pg_try_advisory_lock(1633841249, p::int4)
