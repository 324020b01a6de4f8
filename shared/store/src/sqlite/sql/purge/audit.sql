DELETE FROM audit_log WHERE id IN (
    SELECT id FROM audit_log WHERE at < ?1 * 86400000000 ORDER BY at LIMIT ?2
)
