SELECT coalesce(max(day), 0), coalesce(sum(accepted), 0), coalesce(sum(lost), 0) FROM partitions
