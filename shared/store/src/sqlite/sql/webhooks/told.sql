UPDATE webhooks SET last_number = last_number + 1
WHERE tenant = ?1 AND CASE WHEN ?2 IS NULL THEN EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?3) ELSE id = ?2 END
RETURNING id, last_number
