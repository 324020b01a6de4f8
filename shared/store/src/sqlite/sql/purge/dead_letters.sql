DELETE FROM dead_letters WHERE id IN (
    SELECT id FROM dead_letters WHERE partition = ?1 AND created_at < ?2 * 86400000000 ORDER BY created_at LIMIT ?3
)
