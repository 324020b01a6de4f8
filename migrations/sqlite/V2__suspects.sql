-- As migrations/postgres has them; there is one process, so no table of workers.

-- An entry that kills the process is met again by the next one. All of it is forgotten when the position moves.
ALTER TABLE partitions ADD COLUMN takes INTEGER NOT NULL DEFAULT 0; -- processes that have taken the partition
ALTER TABLE partitions ADD COLUMN taken_by BLOB;                    -- the last of them
ALTER TABLE partitions ADD COLUMN suspect TEXT;                     -- entry that was begun alone
ALTER TABLE partitions ADD COLUMN suspect_by BLOB;                  -- by whom last
ALTER TABLE partitions ADD COLUMN begun INTEGER NOT NULL DEFAULT 0; -- processes that have begun it
