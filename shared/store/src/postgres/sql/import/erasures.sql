-- Their partitions are told at the end.
INSERT INTO erasures (unit, partition, tenant, actor, request_id)
SELECT unit, 0, tenant, actor, request_id FROM json_populate_recordset(NULL::erasures, $1::text::json)
