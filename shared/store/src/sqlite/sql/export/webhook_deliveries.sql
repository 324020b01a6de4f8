SELECT json_object('webhook', webhook, 'number', number, 'id', hex(id), 'event', event, 'body', body, 'state', state,
    'attempts', attempts, 'status', status, 'error', error,
    'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000),
    'tried_at', strftime('%Y-%m-%dT%H:%M:%S', tried_at / 1000000, 'unixepoch') || printf('.%06dZ', tried_at % 1000000),
    'ended_at', strftime('%Y-%m-%dT%H:%M:%S', ended_at / 1000000, 'unixepoch') || printf('.%06dZ', ended_at % 1000000))
FROM webhook_deliveries ORDER BY webhook, number LIMIT ?1 OFFSET ?2
