-- Whoever takes a partition again has survived what it had begun of it.
INSERT INTO partitions AS p (partition, takes, taken_by) VALUES ($1, 1, $2)
ON CONFLICT (partition) DO UPDATE SET
    takes = CASE WHEN p.taken_by = $2 THEN 1 ELSE p.takes + 1 END,
    taken_by = $2,
    begun = CASE WHEN p.suspect_by = $2 THEN 0 ELSE p.begun END
RETURNING takes, begun
