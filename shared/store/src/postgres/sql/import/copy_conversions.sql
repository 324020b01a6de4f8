COPY conversions (unit, experiment, value, occurred_at, received_at, batch, day, occurred_given, tenant, metric, key) FROM STDIN (FORMAT binary)
