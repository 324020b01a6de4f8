SELECT view FROM partitions WHERE partition = $1
