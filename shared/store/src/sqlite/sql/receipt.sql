SELECT request_id, part, parts, recorded, deduplicated, conflicts, dead_lettered
FROM receipts
WHERE tenant = ?1 AND batch = ?2 AND (?3 IS NULL OR request_id = ?3)
ORDER BY request_id, part
