UPDATE partitions
SET begun = CASE WHEN suspect IS ?3 THEN begun + (suspect_by IS NOT ?2 OR begun = 0) ELSE 1 END,
    suspect = ?3, suspect_by = ?2
WHERE partition = ?1
RETURNING begun
