INSERT INTO webhook_looks (name, at)
SELECT name, at FROM json_populate_recordset(NULL::webhook_looks, $1::text::json)
ON CONFLICT (name) DO UPDATE SET at = excluded.at
