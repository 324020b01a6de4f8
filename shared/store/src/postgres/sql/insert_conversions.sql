INSERT INTO conversions
    (unit, experiment, value, occurred_at, received_at, batch, occurred_given, tenant, metric, key, day)
SELECT c.*, $11
FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::timestamptz[], $5::timestamptz[], $6::uuid[],
            $7::timestamptz[], $8::text[], $9::text[], $10::text[]) AS c
ON CONFLICT DO NOTHING
