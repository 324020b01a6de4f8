SELECT id, experiment, partition, entry, batch, request_id, reason, detail, events, digest, created_at, payload
FROM dead_letters WHERE tenant = $1 AND id = $2
