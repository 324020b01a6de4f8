-- Compare-and-set: no row means that somebody else moved the position, or that the database went back in time.
UPDATE partitions
SET position = ?1, day = ?2, accepted = accepted + ?3, lost = lost + ?4, epoch = epoch + ?5,
    takes = CASE WHEN position = ?1 THEN takes ELSE 0 END,
    taken_by = CASE WHEN position = ?1 THEN taken_by END,
    suspect = CASE WHEN position = ?1 THEN suspect END,
    suspect_by = CASE WHEN position = ?1 THEN suspect_by END,
    begun = CASE WHEN position = ?1 THEN begun ELSE 0 END
WHERE partition = ?6 AND position = ?7 AND epoch = ?8
