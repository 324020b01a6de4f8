SELECT id, at, actor, action, request_id, detail, subject FROM audit_log
WHERE tenant = $1 AND subject = $2 AND action LIKE 'experiment.%' AND id < $3
ORDER BY id DESC LIMIT $4
