INSERT INTO losses (partition, writer, first_number, last_number, events, entry, why)
VALUES ($1, $2, $3, $4, $5, $6, $7)
