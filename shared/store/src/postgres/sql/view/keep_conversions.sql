-- Of those just offered, the ones that this transaction inserted.
INSERT INTO view_conversions (partition, unit, experiment, key)
SELECT $1, c.unit, c.experiment, c.key
FROM unnest($2::uuid[], $3::int8[], $4::text[]) AS k (unit, experiment, key)
JOIN conversions c ON c.unit = k.unit AND c.experiment = k.experiment AND c.key = k.key
WHERE c.xmin = pg_current_xact_id()::xid
ON CONFLICT DO NOTHING
