-- As migrations/postgres has them.

-- When the raw rows of an experiment that was put away began to be purged: its sums stay as they were then.
ALTER TABLE experiments ADD COLUMN archived_at INTEGER;
ALTER TABLE experiments ADD COLUMN purged_at INTEGER;
UPDATE experiments SET archived_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 WHERE status = 'archived';

-- How far the last purge is in each partition, and the last dry run.
CREATE TABLE purges (
    partition           INTEGER NOT NULL,
    dry_run             INTEGER NOT NULL,
    asked_at            INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    conversions_before  INTEGER,             -- what was applied or written earlier goes; null = none of these
    dead_letters_before INTEGER,
    audit_before        INTEGER,
    cursor              BLOB,                -- units up to here are done with
    done                INTEGER NOT NULL DEFAULT 0,
    conversions         INTEGER NOT NULL DEFAULT 0, -- gone so far; of a dry run: would be
    dead_letters        INTEGER NOT NULL DEFAULT 0,
    audit               INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, dry_run)
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_by_age ON dead_letters (created_at);
CREATE INDEX audit_log_by_age ON audit_log (at);
