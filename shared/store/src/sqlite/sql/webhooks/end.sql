UPDATE webhook_deliveries SET state = ?3, status = ?4, error = ?5,
    ended_at = CASE WHEN ?3 = 'waiting' THEN NULL ELSE CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 END
WHERE webhook = ?1 AND number = ?2
