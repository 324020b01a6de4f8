-- The definition that was asked for, while its sums are being rebuilt and the one in `definition` is served.
ALTER TABLE experiments
    ADD COLUMN next_definition text,
    ADD COLUMN next_version    integer,
    ADD COLUMN phases          text NOT NULL DEFAULT '[]'; -- JSON; periods of constant weights, once they have changed

-- How far each partition is with the version asked for; one that is not done has rows of what changed on each day in
-- `moments`, not of what it came to.
CREATE TABLE rebuilds (
    experiment bigint NOT NULL,
    partition  smallint NOT NULL,
    version    integer NOT NULL,
    cursor     uuid,                         -- units up to here have sums of that version
    done       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (experiment, partition)
) WITH (fillfactor = 50);
