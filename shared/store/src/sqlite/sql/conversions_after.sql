SELECT unit, experiment, key, metric, value, occurred_at, occurred_given, received_at, day, batch
FROM conversions
WHERE (unit, experiment, key) > (?1, ?2, ?3) AND unit <= ?4 AND experiment IN (0, ?5)
ORDER BY unit, experiment, key LIMIT ?6
