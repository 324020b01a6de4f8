DELETE FROM conversions WHERE unit = ?1 AND experiment = ?2 AND key = ?3
