INSERT INTO moments (experiment, plan_version, partition, variation, stratum, phase, day, vector)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (experiment, plan_version, partition, variation, stratum, phase, day)
DO UPDATE SET vector = excluded.vector
