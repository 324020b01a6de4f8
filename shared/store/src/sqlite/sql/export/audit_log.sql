SELECT json_object('id', id, 'at', strftime('%Y-%m-%dT%H:%M:%S', at / 1000000, 'unixepoch') || printf('.%06dZ', at % 1000000),
    'tenant', tenant, 'actor', actor, 'action', action, 'subject', subject, 'request_id', request_id, 'detail', detail)
FROM audit_log ORDER BY id LIMIT ?1 OFFSET ?2
