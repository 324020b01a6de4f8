SELECT json_object('batch', hex(batch), 'request_id', request_id, 'part', part, 'parts', parts, 'tenant', tenant,
    'recorded', recorded, 'deduplicated', deduplicated, 'conflicts', conflicts, 'dead_lettered', dead_lettered,
    'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000))
FROM receipts ORDER BY batch, request_id, part LIMIT ?1 OFFSET ?2
