INSERT INTO receipts (batch, request_id, part, parts, tenant, recorded, deduplicated, conflicts, dead_lettered)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int4[], $4::int4[], $5::text[], $6::int8[], $7::int8[],
                     $8::int8[], $9::int8[])
ON CONFLICT DO NOTHING
