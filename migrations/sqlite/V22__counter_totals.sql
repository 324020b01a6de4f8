-- What every counter has come to: an answer reads one row of each, however many days there were. The database adds up,
-- so the totals hold whoever counts.
CREATE TABLE counter_totals (
    tenant     TEXT NOT NULL,
    experiment INTEGER NOT NULL,
    partition  INTEGER NOT NULL,
    variation  INTEGER NOT NULL,
    name       TEXT NOT NULL,
    n          INTEGER NOT NULL,
    PRIMARY KEY (tenant, experiment, partition, variation, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER counters_inserted AFTER INSERT ON counters
BEGIN
    INSERT INTO counter_totals (tenant, experiment, partition, variation, name, n)
    VALUES (new.tenant, new.experiment, new.partition, new.variation, new.name, new.n)
    ON CONFLICT (tenant, experiment, partition, variation, name) DO UPDATE SET n = n + excluded.n;
END;
CREATE TRIGGER counters_updated AFTER UPDATE OF n ON counters
BEGIN
    UPDATE counter_totals SET n = n + new.n - old.n
    WHERE tenant = new.tenant AND experiment = new.experiment AND partition = new.partition
      AND variation = new.variation AND name = new.name;
END;

INSERT INTO counter_totals (tenant, experiment, partition, variation, name, n)
SELECT tenant, experiment, partition, variation, name, sum(n)
FROM counters GROUP BY tenant, experiment, partition, variation, name;

-- As of a day, a total is without what came later.
CREATE INDEX counters_by_day ON counters (tenant, experiment, day);
