-- Compare-and-set: no row means that somebody else moved the position, or that the database went back in time.
UPDATE partitions
SET position = $1, day = $2, accepted = accepted + $3, lost = lost + $4
WHERE partition = $5 AND position = $6 AND epoch = $7
