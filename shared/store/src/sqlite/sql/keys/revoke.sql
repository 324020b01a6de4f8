UPDATE api_keys SET revoked_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000
WHERE tenant = ?1 AND id = ?2 AND revoked_at IS NULL
