SELECT id, experiment, partition, entry, batch, request_id, reason, detail, events, digest, created_at
FROM dead_letters
WHERE tenant = $1 AND id > $2 AND ($3::int8 IS NULL OR experiment = $3) AND ($4::text IS NULL OR reason = $4)
ORDER BY id LIMIT $5
