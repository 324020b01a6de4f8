-- The partition of a unit: the first half of its id, scaled to as many as there are.
UPDATE erasures AS e
SET partition = div((high * 4294967296 + low) * $1::int4, 18446744073709551616)::int2
FROM (
    SELECT unit, ('x' || substr(hex, 1, 8))::bit(32)::int8::numeric AS high, ('x' || substr(hex, 9, 8))::bit(32)::int8::numeric AS low
    FROM (SELECT unit, replace(unit::text, '-', '') AS hex FROM erasures) AS ids
) AS halves
WHERE e.unit = halves.unit
