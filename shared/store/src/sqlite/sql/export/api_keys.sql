SELECT json_object('id', id, 'tenant', tenant, 'digest', '\x' || hex(digest), 'name', name, 'scopes', scopes,
    'last_digits', last_digits,
    'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000),
    'revoked_at', CASE WHEN revoked_at IS NOT NULL THEN
        strftime('%Y-%m-%dT%H:%M:%S', revoked_at / 1000000, 'unixepoch') || printf('.%06dZ', revoked_at % 1000000) END)
FROM api_keys ORDER BY id LIMIT ?1 OFFSET ?2
