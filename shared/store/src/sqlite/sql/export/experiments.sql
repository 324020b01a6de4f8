SELECT json_object('id', id, 'tenant', tenant, 'key', key, 'definition', definition, 'plan_version', plan_version,
    'revision', revision, 'status', status, 'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000),
    'started_at', strftime('%Y-%m-%dT%H:%M:%S', started_at / 1000000, 'unixepoch') || printf('.%06dZ', started_at % 1000000),
    'stopped_at', strftime('%Y-%m-%dT%H:%M:%S', stopped_at / 1000000, 'unixepoch') || printf('.%06dZ', stopped_at % 1000000),
    'archived_at', strftime('%Y-%m-%dT%H:%M:%S', archived_at / 1000000, 'unixepoch') || printf('.%06dZ', archived_at % 1000000),
    'purged_at', strftime('%Y-%m-%dT%H:%M:%S', purged_at / 1000000, 'unixepoch') || printf('.%06dZ', purged_at % 1000000),
    'next_definition', next_definition, 'next_version', next_version, 'phases', phases)
FROM experiments ORDER BY id LIMIT ?1 OFFSET ?2
