SELECT setval(pg_get_serial_sequence('experiments', 'id'), max(id)) FROM experiments HAVING max(id) IS NOT NULL
UNION ALL
SELECT setval(pg_get_serial_sequence('dead_letters', 'id'), max(id)) FROM dead_letters HAVING max(id) IS NOT NULL
UNION ALL
SELECT setval(pg_get_serial_sequence('losses', 'id'), max(id)) FROM losses HAVING max(id) IS NOT NULL
UNION ALL
SELECT setval(pg_get_serial_sequence('audit_log', 'id'), max(id)) FROM audit_log HAVING max(id) IS NOT NULL
UNION ALL
SELECT setval(pg_get_serial_sequence('api_keys', 'id'), max(id)) FROM api_keys HAVING max(id) IS NOT NULL
UNION ALL
SELECT setval(pg_get_serial_sequence('webhooks', 'id'), max(id)) FROM webhooks HAVING max(id) IS NOT NULL
