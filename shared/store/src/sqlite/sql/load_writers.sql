SELECT writer, number, total, seen_ms FROM writers WHERE partition = ?1
