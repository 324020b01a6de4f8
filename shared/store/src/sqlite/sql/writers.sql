SELECT partition, writer, number, total, seen_ms FROM writers ORDER BY partition, writer
