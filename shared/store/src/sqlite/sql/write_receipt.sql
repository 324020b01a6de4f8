INSERT INTO receipts (batch, request_id, part, parts, tenant, recorded, deduplicated, conflicts, dead_lettered)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT DO NOTHING
