SELECT unit, tenant, user_id, state FROM units
WHERE unit >= ?1 AND unit <= ?2 AND (?3 IS NULL OR unit > ?3)
ORDER BY unit LIMIT ?4
