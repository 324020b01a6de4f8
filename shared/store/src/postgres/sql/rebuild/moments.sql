-- All rows of the versions that are being built, of one partition.
SELECT m.experiment, m.plan_version, m.partition, m.variation, m.stratum, m.phase, m.day, m.vector
FROM rebuilds r
JOIN moments m ON m.experiment = r.experiment AND m.plan_version = r.version AND m.partition = r.partition
WHERE r.experiment = ANY ($1) AND r.partition = $2 AND NOT r.done
