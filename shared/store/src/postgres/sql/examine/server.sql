SELECT current_setting('server_version_num')::int4, pg_is_in_recovery(), clock_timestamp(),
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')::int4, to_regclass('workers') IS NOT NULL
