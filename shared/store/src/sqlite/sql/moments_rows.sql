SELECT experiment, plan_version, partition, variation, stratum, phase, day, vector
FROM moments WHERE experiment = ?1 AND plan_version = ?2
ORDER BY partition, variation, stratum, phase, day
