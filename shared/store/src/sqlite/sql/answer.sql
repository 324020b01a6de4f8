-- The last row of every key, or the last one up to a day: two descents each.
SELECT k.experiment, k.plan_version, k.partition, k.variation, k.stratum, k.phase, m.day, m.vector
FROM moments_keys k
JOIN moments m ON m.experiment = k.experiment AND m.plan_version = k.plan_version AND m.partition = k.partition
    AND m.variation = k.variation AND m.stratum = k.stratum AND m.phase = k.phase
    AND m.day = (
        SELECT max(l.day) FROM moments l
        WHERE l.experiment = k.experiment AND l.plan_version = k.plan_version AND l.partition = k.partition
          AND l.variation = k.variation AND l.stratum = k.stratum AND l.phase = k.phase
          AND l.day <= ?3
    )
WHERE k.experiment = ?1 AND k.plan_version = ?2
