-- What it kept would be of a user who is erased.
UPDATE partitions SET view = NULL, view_until = NULL WHERE partition = $1 AND view IS NOT NULL
