-- The partitions were others: all of it is the first one's.
INSERT INTO losses (id, partition, writer, first_number, last_number, events, entry, why, seen_at)
OVERRIDING SYSTEM VALUE
SELECT id, 0, writer, first_number, last_number, events, entry, why, seen_at
FROM json_populate_recordset(NULL::losses, $1::text::json)
