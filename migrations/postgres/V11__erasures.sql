-- Users to be erased, by the owners of their partitions. A unit is a hash; who asked is for the audit log.
CREATE TABLE erasures (
    unit       uuid NOT NULL PRIMARY KEY,
    partition  smallint NOT NULL,
    tenant     text NOT NULL,
    actor      text NOT NULL,
    request_id text NOT NULL
);
CREATE INDEX erasures_by_partition ON erasures (partition);
