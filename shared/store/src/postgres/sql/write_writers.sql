INSERT INTO writers (writer, number, total, seen_ms, partition)
SELECT w.*, $5 FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[]) AS w
ON CONFLICT (partition, writer)
DO UPDATE SET number = excluded.number, total = excluded.total, seen_ms = excluded.seen_ms
