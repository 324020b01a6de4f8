DELETE FROM receipts WHERE (batch, request_id, part) IN (
    SELECT batch, request_id, part FROM receipts WHERE created_at < now() - interval '24 hours' LIMIT $1
)
