SELECT json_object('id', id, 'writer', CASE WHEN writer IS NOT NULL THEN hex(writer) END, 'first_number', first_number,
    'last_number', last_number, 'events', events, 'entry', entry, 'why', why,
    'seen_at', strftime('%Y-%m-%dT%H:%M:%S', seen_at / 1000000, 'unixepoch') || printf('.%06dZ', seen_at % 1000000))
FROM losses ORDER BY id LIMIT ?1 OFFSET ?2
