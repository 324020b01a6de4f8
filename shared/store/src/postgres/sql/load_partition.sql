SELECT epoch, position, day FROM partitions WHERE partition = $1
