SELECT k.experiment, k.plan_version, k.partition, k.variation, k.stratum, k.phase, m.day, m.vector
FROM moments_keys k
CROSS JOIN LATERAL (
    SELECT day, vector FROM moments m
    WHERE m.experiment = k.experiment AND m.plan_version = k.plan_version AND m.partition = k.partition
      AND m.variation = k.variation AND m.stratum = k.stratum AND m.phase = k.phase
    ORDER BY day DESC LIMIT 1
) m
WHERE k.experiment = ANY ($1) AND k.partition = $2
