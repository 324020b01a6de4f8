INSERT INTO dead_letters
    (id, tenant, experiment, partition, entry, batch, request_id, reason, detail, events, payload, digest, created_at)
OVERRIDING SYSTEM VALUE
SELECT id, tenant, experiment, 0, entry, batch, request_id, reason, detail, events, payload, digest, created_at
FROM json_populate_recordset(NULL::dead_letters, $1::text::json)
