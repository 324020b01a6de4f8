SELECT unit, state FROM units WHERE unit = ANY ($1)
