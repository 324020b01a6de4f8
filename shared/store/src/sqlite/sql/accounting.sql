-- What was redriven is accepted a second time with its new entry, and has another fate there.
SELECT p.partition, p.position, p.accepted - coalesce(c.redriven, 0), p.lost,
       coalesce(c.recorded, 0), coalesce(c.deduplicated, 0),
       (coalesce(c.dead_lettered, 0) - coalesce(c.redriven, 0)), coalesce(c.discarded, 0)
FROM partitions p
LEFT JOIN (
    SELECT partition,
           sum(n) FILTER (WHERE name IN ('exposures', 'conversions', 'pre_period', 'strata', 'exclusions', 'controls')) AS recorded,
           sum(n) FILTER (WHERE name = 'deduplicated') AS deduplicated,
           sum(n) FILTER (WHERE name = 'dead_lettered') AS dead_lettered,
           sum(n) FILTER (WHERE name = 'redriven') AS redriven,
           sum(n) FILTER (WHERE name = 'discarded') AS discarded
    FROM counter_totals GROUP BY partition
) c ON c.partition = p.partition
ORDER BY p.partition
