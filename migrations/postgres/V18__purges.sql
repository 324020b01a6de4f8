-- When the raw rows of an experiment that was put away began to be purged: its sums stay as they were then.
ALTER TABLE experiments
    ADD COLUMN archived_at timestamptz,
    ADD COLUMN purged_at   timestamptz;
UPDATE experiments SET archived_at = now() WHERE status = 'archived';

-- How far the last purge is in each partition, and the last dry run.
CREATE TABLE purges (
    partition           smallint NOT NULL,
    dry_run             boolean NOT NULL,
    asked_at            timestamptz NOT NULL DEFAULT now(),
    conversions_before  date,                -- what was applied or written earlier goes; null = none of these
    dead_letters_before date,
    audit_before        date,
    cursor              uuid,                -- units up to here are done with
    done                boolean NOT NULL DEFAULT false,
    conversions         bigint NOT NULL DEFAULT 0, -- gone so far; of a dry run: would be
    dead_letters        bigint NOT NULL DEFAULT 0,
    audit               bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, dry_run)
) WITH (fillfactor = 50);

CREATE INDEX dead_letters_by_age ON dead_letters (created_at);
CREATE INDEX audit_log_by_age ON audit_log (at);
