SELECT id, at, actor, action, request_id, detail, subject FROM audit_log
WHERE tenant = $1 AND id < $2 AND starts_with(action, $3)
ORDER BY id DESC LIMIT $4
