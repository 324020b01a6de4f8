DELETE FROM writers WHERE partition = ?1 AND writer = ?2
