DELETE FROM conversions c
USING unnest($1::uuid[], $2::int8[], $3::text[]) AS k (unit, experiment, key)
WHERE c.unit = k.unit AND c.experiment = k.experiment AND c.key = k.key
