-- Compare-and-set: no row means that somebody else moved the position, or that the database went back in time.
UPDATE partitions
SET position = ?1, day = ?2, accepted = accepted + ?3, lost = lost + ?4, epoch = epoch + ?5,
    takes = 0, taken_by = NULL, suspect = NULL, suspect_by = NULL, begun = 0
WHERE partition = ?6 AND position = ?7 AND epoch = ?8
