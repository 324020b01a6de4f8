INSERT INTO audit_log (tenant, actor, action, subject, request_id, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
