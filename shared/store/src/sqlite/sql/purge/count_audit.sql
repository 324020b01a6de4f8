SELECT count(*) FROM audit_log WHERE at < ?1 * 86400000000
