INSERT INTO moments_keys (experiment, plan_version, partition, variation, stratum, phase)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT DO NOTHING
