SELECT json_object('id', id, 'tenant', tenant, 'experiment', experiment, 'entry', entry, 'batch', CASE WHEN batch IS NOT NULL THEN hex(batch) END,
    'request_id', request_id, 'reason', reason, 'detail', detail, 'events', events, 'payload', '\x' || hex(payload),
    'digest', CASE WHEN digest IS NOT NULL THEN '\x' || hex(digest) END,
    'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000))
FROM dead_letters ORDER BY id LIMIT ?1 OFFSET ?2
