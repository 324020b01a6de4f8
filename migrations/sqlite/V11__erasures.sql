-- As migrations/postgres has them.

-- Users to be erased, by the owners of their partitions. A unit is a hash; who asked is for the audit log.
CREATE TABLE erasures (
    unit       BLOB NOT NULL PRIMARY KEY,
    partition  INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_by_partition ON erasures (partition);
