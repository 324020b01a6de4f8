-- As migrations/postgres has them.

-- The definition that was asked for, while its sums are being rebuilt and the one in `definition` is served.
ALTER TABLE experiments ADD COLUMN next_definition TEXT;
ALTER TABLE experiments ADD COLUMN next_version INTEGER;
ALTER TABLE experiments ADD COLUMN phases TEXT NOT NULL DEFAULT '[]'; -- JSON; periods of constant weights, once they have changed

-- How far each partition is with the version asked for; one that is not done has rows of what changed on each day in
-- `moments`, not of what it came to.
CREATE TABLE rebuilds (
    experiment INTEGER NOT NULL,
    partition  INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    cursor     BLOB,                         -- units up to here have sums of that version
    done       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (experiment, partition)
) STRICT, WITHOUT ROWID;
