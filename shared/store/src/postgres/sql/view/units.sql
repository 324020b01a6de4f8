SELECT u.unit, u.tenant, u.user_id, coalesce(v.state, u.state)
FROM units u LEFT JOIN view_units v ON v.partition = $1 AND v.unit = u.unit
WHERE u.unit >= $2 AND u.unit <= $3 AND (v.unit IS NULL OR v.state IS NOT NULL)
ORDER BY u.unit LIMIT $4
