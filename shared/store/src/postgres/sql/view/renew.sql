UPDATE partitions SET view_until = clock_timestamp() + interval '60 seconds'
WHERE partition = $1 AND view = $2 AND view_until < clock_timestamp() + interval '30 seconds'
