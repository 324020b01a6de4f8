SELECT coalesce(max(version), 0)::int4 FROM refinery_schema_history
