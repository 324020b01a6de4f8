INSERT INTO conversions
    (unit, experiment, key, value, occurred_at, received_at, batch, day, occurred_given, tenant, metric)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT DO NOTHING
