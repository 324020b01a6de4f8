SELECT unit, experiment, metric, value, occurred_at FROM conversions WHERE unit = ANY ($1)
