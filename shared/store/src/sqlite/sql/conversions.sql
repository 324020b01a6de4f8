SELECT unit, experiment, key, metric, value, occurred_at, occurred_given, received_at, day, batch
FROM conversions WHERE unit >= ?1 AND unit <= ?2
ORDER BY unit, experiment, key
