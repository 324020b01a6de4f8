-- What a counter has come to, without what came after the day.
SELECT experiment, variation, name, sum(n)::int8
FROM (
    SELECT experiment, variation, name, n FROM counter_totals WHERE tenant = $1
    UNION ALL
    SELECT experiment, variation, name, -n FROM counters WHERE tenant = $1 AND day > $2
) AS c
GROUP BY experiment, variation, name HAVING sum(n) <> 0 ORDER BY experiment, variation, name
