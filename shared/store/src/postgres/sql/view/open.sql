-- Waits for the transaction under way and keeps the next one out until this one ends.
INSERT INTO partitions (partition, view, view_until) VALUES ($1, $2, clock_timestamp() + interval '60 seconds')
ON CONFLICT (partition) DO UPDATE SET view = excluded.view, view_until = excluded.view_until
