UPDATE units SET state = changed.state
FROM unnest($1::uuid[], $2::bytea[]) AS changed (unit, state)
WHERE units.unit = changed.unit
