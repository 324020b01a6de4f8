SELECT id, payload FROM dead_letters
WHERE tenant = $1 AND id > $2 AND digest IS NULL
ORDER BY id LIMIT $3
