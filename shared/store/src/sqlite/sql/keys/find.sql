SELECT id, tenant, digest, name, scopes, last_digits, created_at, revoked_at FROM api_keys WHERE tenant = ?1 AND id = ?2
