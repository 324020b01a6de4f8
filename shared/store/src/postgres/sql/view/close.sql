UPDATE partitions SET view = NULL, view_until = NULL WHERE partition = $1 AND view = $2
