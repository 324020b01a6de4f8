SELECT EXISTS (SELECT FROM experiments) OR EXISTS (SELECT FROM units) OR EXISTS (SELECT FROM conversions)
    OR EXISTS (SELECT FROM counters) OR EXISTS (SELECT FROM partitions WHERE position <> '0-0')
