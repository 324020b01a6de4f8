SELECT json_object('id', id, 'tenant', tenant, 'url', url, 'events', json(events), 'secret', '\x' || hex(secret),
    'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000),
    'last_number', last_number, 'next_at', strftime('%Y-%m-%dT%H:%M:%S', next_at / 1000000, 'unixepoch') || printf('.%06dZ', next_at % 1000000))
FROM webhooks ORDER BY id LIMIT ?1 OFFSET ?2
