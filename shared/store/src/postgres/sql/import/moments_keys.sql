INSERT INTO moments_keys (experiment, plan_version, partition, variation, phase, stratum)
SELECT DISTINCT experiment, plan_version, partition, variation, phase, stratum FROM moments
