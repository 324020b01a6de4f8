SELECT experiment, variation, name, sum(n)::int8
FROM counters WHERE tenant = $1 AND ($2::int8 IS NULL OR experiment = $2) AND day <= $3
GROUP BY experiment, variation, name ORDER BY experiment, variation, name
