DELETE FROM receipts WHERE (batch, request_id, part) IN (
    SELECT batch, request_id, part FROM receipts
    WHERE created_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 - 86400000000 LIMIT ?1
)
