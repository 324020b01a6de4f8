INSERT INTO api_keys (id, tenant, digest, name, scopes, last_digits, created_at, revoked_at)
OVERRIDING SYSTEM VALUE
SELECT id, tenant, digest, name, scopes, last_digits, created_at, revoked_at
FROM json_populate_recordset(NULL::api_keys, $1::text::json)
