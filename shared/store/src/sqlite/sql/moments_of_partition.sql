SELECT experiment, plan_version, partition, variation, stratum, phase, day, vector
FROM moments WHERE experiment = ?1 AND plan_version = ?2 AND partition = ?3
ORDER BY variation, stratum, phase, day
