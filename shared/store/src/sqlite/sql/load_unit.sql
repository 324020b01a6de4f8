SELECT state FROM units WHERE unit = ?1
