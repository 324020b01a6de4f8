SELECT count(*) > 0 FROM units WHERE unit = ?1 AND user_id = ''
