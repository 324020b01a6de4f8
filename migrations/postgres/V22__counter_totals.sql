-- What every counter has come to: an answer reads one row of each, however many days there were. The database adds up,
-- so the totals hold whoever counts, a release before this one included.
CREATE TABLE counter_totals (
    tenant     text NOT NULL,
    experiment bigint NOT NULL,
    partition  smallint NOT NULL,
    variation  smallint NOT NULL,
    name       text NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (tenant, experiment, partition, variation, name)
) WITH (fillfactor = 50);

CREATE FUNCTION add_up_counters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO counter_totals AS t (tenant, experiment, partition, variation, name, n)
        SELECT a.tenant, a.experiment, a.partition, a.variation, a.name, sum(a.n)::int8
        FROM added a
        GROUP BY a.tenant, a.experiment, a.partition, a.variation, a.name
        ON CONFLICT (tenant, experiment, partition, variation, name) DO UPDATE SET n = t.n + excluded.n;
    ELSE
        INSERT INTO counter_totals AS t (tenant, experiment, partition, variation, name, n)
        SELECT a.tenant, a.experiment, a.partition, a.variation, a.name, sum(a.n)::int8
        FROM (
            SELECT tenant, experiment, partition, variation, name, n FROM added
            UNION ALL
            SELECT tenant, experiment, partition, variation, name, -n FROM gone
        ) a
        GROUP BY a.tenant, a.experiment, a.partition, a.variation, a.name
        ON CONFLICT (tenant, experiment, partition, variation, name) DO UPDATE SET n = t.n + excluded.n;
    END IF;
    RETURN NULL;
END $$;

-- Nobody counts between these and what follows: they lock the table.
CREATE TRIGGER counters_inserted AFTER INSERT ON counters
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_counters();
CREATE TRIGGER counters_updated AFTER UPDATE ON counters
    REFERENCING NEW TABLE AS added OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_counters();

INSERT INTO counter_totals (tenant, experiment, partition, variation, name, n)
SELECT tenant, experiment, partition, variation, name, sum(n)::int8
FROM counters GROUP BY tenant, experiment, partition, variation, name;

-- As of a day, a total is without what came later.
CREATE INDEX counters_by_day ON counters (tenant, experiment, day);
