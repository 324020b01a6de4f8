SELECT id, tenant, digest, name, scopes, last_digits, created_at, revoked_at FROM api_keys WHERE revoked_at IS NULL ORDER BY id
