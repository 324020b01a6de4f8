SELECT unit, experiment, metric, value, occurred_at FROM conversions WHERE unit = ?1
