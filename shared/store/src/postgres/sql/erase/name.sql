-- A user without a name is one that was erased.
UPDATE units SET user_id = '' WHERE unit = $1
