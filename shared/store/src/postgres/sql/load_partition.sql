WITH first AS (
    INSERT INTO partitions (partition) VALUES ($1) ON CONFLICT DO NOTHING RETURNING epoch, position, day
)
SELECT epoch, position, day FROM first
UNION ALL
SELECT epoch, position, day FROM partitions WHERE partition = $1
LIMIT 1
