UPDATE purges
SET cursor = ?3, done = ?4, conversions = conversions + ?5, dead_letters = dead_letters + ?6, audit = audit + ?7
WHERE partition = ?1 AND dry_run = ?2
