INSERT INTO view_units (partition, unit) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING
