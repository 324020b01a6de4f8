INSERT INTO units (unit, tenant, user_id, state) VALUES (?1, ?2, ?3, ?4)
