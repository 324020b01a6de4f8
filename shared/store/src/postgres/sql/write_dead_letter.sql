INSERT INTO dead_letters
    (tenant, experiment, partition, entry, batch, request_id, reason, detail, events, payload, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
