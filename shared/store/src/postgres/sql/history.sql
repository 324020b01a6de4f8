SELECT unit, experiment, metric, value, occurred_at FROM conversions
WHERE unit = ANY ($1) AND experiment = ANY ($2) AND (experiment <> 0 OR metric = ANY ($3))
