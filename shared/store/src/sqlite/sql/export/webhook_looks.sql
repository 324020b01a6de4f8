SELECT json_object('name', name, 'at', strftime('%Y-%m-%dT%H:%M:%S', at / 1000000, 'unixepoch') || printf('.%06dZ', at % 1000000))
FROM webhook_looks ORDER BY name LIMIT ?1 OFFSET ?2
