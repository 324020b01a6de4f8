-- Worker processes that live, so that they share the partitions out.
CREATE TABLE workers (
    worker  uuid PRIMARY KEY,
    beat    timestamptz NOT NULL,            -- last sign of life
    pids    integer[] NOT NULL,              -- its apply connections: the server's process, and when it started
    started timestamptz[] NOT NULL
) WITH (fillfactor = 50);

-- An entry that kills the worker is met again by the next one. All of it is forgotten when the position moves.
ALTER TABLE partitions
    ADD COLUMN takes      integer NOT NULL DEFAULT 0, -- processes that have taken the partition
    ADD COLUMN taken_by   uuid,                       -- the last of them
    ADD COLUMN suspect    text,                       -- entry that was begun alone
    ADD COLUMN suspect_by uuid,                       -- by whom last
    ADD COLUMN begun      integer NOT NULL DEFAULT 0; -- processes that have begun it
