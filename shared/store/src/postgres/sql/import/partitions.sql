-- Every partition goes on from the day the other deployment had reached; its stream is a new one. A worker that has
-- looked already looks again.
INSERT INTO partitions AS p (partition, day, accepted, lost)
SELECT n, $2, CASE WHEN n = 0 THEN $3::int8 ELSE 0 END, CASE WHEN n = 0 THEN $4::int8 ELSE 0 END
FROM generate_series(0, $1::int4 - 1) AS n
ON CONFLICT (partition) DO UPDATE
SET day = excluded.day, accepted = excluded.accepted, lost = excluded.lost, epoch = p.epoch + 1
