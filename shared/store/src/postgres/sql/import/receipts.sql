INSERT INTO receipts
    (batch, request_id, part, parts, tenant, recorded, deduplicated, conflicts, dead_lettered, created_at)
SELECT batch, request_id, part, parts, tenant, recorded, deduplicated, conflicts, dead_lettered, created_at
FROM json_populate_recordset(NULL::receipts, $1::text::json)
