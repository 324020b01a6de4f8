INSERT INTO moments (experiment, plan_version, partition, variation, stratum, phase, vector, day)
SELECT * FROM unnest($1::int8[], $2::int4[], $3::int2[], $4::int2[], $5::text[], $6::int4[], $7::bytea[], $8::date[])
ON CONFLICT (experiment, plan_version, partition, variation, stratum, phase, day)
DO UPDATE SET vector = excluded.vector
