SELECT count(*) FROM audit_log WHERE at < $1::date::timestamp AT TIME ZONE 'UTC'
