-- The first start records the number of partitions; every later one is told what was recorded.
WITH first AS (
    INSERT INTO settings (name, value) VALUES ('partitions', $1) ON CONFLICT DO NOTHING RETURNING value
)
SELECT value FROM first
UNION ALL
SELECT value FROM settings WHERE name = 'partitions'
LIMIT 1
