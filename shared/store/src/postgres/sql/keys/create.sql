INSERT INTO api_keys (tenant, digest, name, scopes, last_digits)
SELECT $1, $2, $3, $4, $5
WHERE (SELECT count(*) FROM api_keys WHERE tenant = $1 AND revoked_at IS NULL) < $6
RETURNING id, tenant, digest, name, scopes, last_digits, created_at, revoked_at
