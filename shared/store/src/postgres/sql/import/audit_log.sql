INSERT INTO audit_log (id, at, tenant, actor, action, subject, request_id, detail)
OVERRIDING SYSTEM VALUE
SELECT id, at, tenant, actor, action, subject, request_id, detail
FROM json_populate_recordset(NULL::audit_log, $1::text::json)
