SELECT c.unit, c.experiment, c.key, c.metric, c.value, c.occurred_at, c.occurred_given, c.received_at, c.day, c.batch
FROM conversions c
WHERE c.unit >= $2 AND c.unit <= $3 AND NOT EXISTS (
    SELECT 1 FROM view_conversions v
    WHERE v.partition = $1 AND v.unit = c.unit AND v.experiment = c.experiment AND v.key = c.key
)
ORDER BY c.unit, c.experiment, c.key
