INSERT INTO webhook_marks (tenant, experiment, revision, state)
SELECT tenant, experiment, revision, state FROM json_populate_recordset(NULL::webhook_marks, $1::text::json)
