SELECT unit, experiment, metric, value, occurred_at FROM conversions
WHERE unit = ANY ($1) AND experiment = ANY ($2) AND metric = ANY ($3)
