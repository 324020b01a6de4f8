SELECT id, status, purged_at IS NOT NULL FROM experiments WHERE tenant = $1 AND (key = $2 OR id = $3) FOR UPDATE
