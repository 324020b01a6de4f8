-- Those that this transaction did not insert, by their place in the arrays.
SELECT k.n::int4 - 1, c.metric, c.value, c.occurred_given
FROM unnest($1::uuid[], $2::int8[], $3::text[]) WITH ORDINALITY AS k (unit, experiment, key, n)
JOIN conversions c ON c.unit = k.unit AND c.experiment = k.experiment AND c.key = k.key
WHERE c.xmin <> pg_current_xact_id()::xid
