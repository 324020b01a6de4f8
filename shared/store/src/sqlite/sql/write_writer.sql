INSERT INTO writers (partition, writer, number, total, seen_ms)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (partition, writer)
DO UPDATE SET number = excluded.number, total = excluded.total, seen_ms = excluded.seen_ms
