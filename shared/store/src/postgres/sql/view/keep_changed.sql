INSERT INTO view_units (partition, unit, state)
SELECT $1, u.unit, u.state FROM units u WHERE u.unit = ANY ($2)
ON CONFLICT DO NOTHING
