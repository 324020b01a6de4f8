-- Compare-and-set: no row means that somebody else moved the position, or that the database went back in time.
-- Tells whether a view is open; one that nobody renews ends with the first transaction that keeps nothing for it.
UPDATE partitions
SET position = $1, day = $2, accepted = accepted + $3, lost = lost + $4, epoch = epoch + $5,
    takes = 0, taken_by = NULL, suspect = NULL, suspect_by = NULL, begun = 0,
    view = CASE WHEN view_until > clock_timestamp() THEN view END
WHERE partition = $6 AND position = $7 AND epoch = $8
RETURNING view IS NOT NULL
