SELECT partition, writer, first_number, last_number, events, entry, why, seen_at
FROM losses ORDER BY id DESC LIMIT $1
