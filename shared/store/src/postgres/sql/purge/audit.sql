DELETE FROM audit_log WHERE id IN (
    SELECT id FROM audit_log WHERE at < $1::date::timestamp AT TIME ZONE 'UTC' ORDER BY at LIMIT $2
)
