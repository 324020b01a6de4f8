-- A view of a partition for verify: while it is open, the owner keeps what it changes as it was. Closed by whoever
-- opened it; or by the owner, from the first transaction past `view_until` on.
ALTER TABLE partitions
    ADD COLUMN view       uuid,
    ADD COLUMN view_until timestamptz;

-- Units changed since the view was opened, as they were then; no state = there was none.
CREATE TABLE view_units (
    partition smallint NOT NULL,
    unit      uuid NOT NULL,
    state     bytea,
    PRIMARY KEY (partition, unit)
);

-- Conversions stored since.
CREATE TABLE view_conversions (
    partition  smallint NOT NULL,
    unit       uuid NOT NULL,
    experiment bigint NOT NULL,
    key        text NOT NULL,
    PRIMARY KEY (partition, unit, experiment, key)
);
