DELETE FROM api_keys
WHERE tenant = $1 AND revoked_at IS NOT NULL AND id <= (
    SELECT id FROM api_keys WHERE tenant = $1 AND revoked_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET $2)
