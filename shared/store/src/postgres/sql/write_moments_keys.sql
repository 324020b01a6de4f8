INSERT INTO moments_keys (experiment, plan_version, partition, variation, stratum, phase)
SELECT * FROM unnest($1::int8[], $2::int4[], $3::int2[], $4::int2[], $5::text[], $6::int4[])
ON CONFLICT DO NOTHING
