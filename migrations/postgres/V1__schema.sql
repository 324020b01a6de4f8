-- abstream's books. One writer per row everywhere: a partition's rows are written by the transaction that moves its
-- position, experiments by the analyzer.

-- What is fixed for a deployment: the number of partitions.
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE experiments (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text NOT NULL,
    key          text NOT NULL,
    definition   text NOT NULL,              -- JSON; text keeps its decimals as written
    plan_version integer NOT NULL DEFAULT 1,
    revision     bigint NOT NULL DEFAULT 1,  -- raised by every change; orders the writers of the projection
    status       text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'stopped', 'archived', 'deleted')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    stopped_at   timestamptz,
    UNIQUE (tenant, key)                     -- for ever: a deleted experiment keeps its row and its key
);

-- Where each partition's stream has been applied to. `position` is moved by compare-and-set at the start of every
-- apply transaction; `epoch` is raised by whoever else changes what the owner caches.
CREATE TABLE partitions (
    partition smallint PRIMARY KEY,
    epoch     bigint NOT NULL DEFAULT 0,
    position  text NOT NULL DEFAULT '0-0',   -- id of the last entry applied
    day       date NOT NULL DEFAULT '1970-01-01',
    accepted  bigint NOT NULL DEFAULT 0,     -- events of distinct entries, by the writers' running totals
    lost      bigint NOT NULL DEFAULT 0      -- of these, events of entries that never arrived
) WITH (fillfactor = 50);

-- Last entry applied of each writer: a number not above it was written twice.
CREATE TABLE writers (
    partition smallint NOT NULL,
    writer    uuid NOT NULL,
    number    bigint NOT NULL,
    total     bigint NOT NULL,
    seen_ms   bigint NOT NULL,               -- stream time of that entry
    PRIMARY KEY (partition, writer)
) WITH (fillfactor = 50);

-- One user of one tenant; the id is a hash of both and ordered by partition. No other index, and room on the
-- page: state changes stay HOT.
CREATE TABLE units (
    unit    uuid PRIMARY KEY,
    tenant  text NOT NULL,
    user_id text NOT NULL,
    state   bytea NOT NULL
) WITH (fillfactor = 75);
ALTER TABLE units ALTER COLUMN state SET STORAGE MAIN;

-- The dedupe ledger and every user's history, in one index.
CREATE TABLE conversions (
    unit           uuid NOT NULL,
    experiment     bigint NOT NULL,          -- 0 = the tenant's
    value          bigint NOT NULL,          -- millionths
    occurred_at    timestamptz NOT NULL,     -- after clock correction
    received_at    timestamptz NOT NULL,
    batch          uuid NOT NULL,
    day            date NOT NULL,            -- when it was applied
    occurred_given timestamptz,              -- as the client wrote it
    tenant         text NOT NULL,
    metric         text NOT NULL,
    key            text NOT NULL,
    PRIMARY KEY (unit, experiment, key)
);

-- The cumulative sums of an arm at the end of a day on which they changed.
CREATE TABLE moments (
    experiment   bigint NOT NULL,
    plan_version integer NOT NULL,
    partition    smallint NOT NULL,
    variation    smallint NOT NULL,
    phase        integer NOT NULL,
    stratum      text NOT NULL,
    day          date NOT NULL,
    vector       bytea NOT NULL,
    PRIMARY KEY (experiment, plan_version, partition, variation, stratum, phase, day)
) WITH (fillfactor = 50);

-- The distinct keys of `moments`, so that the last row of each is one index descent.
CREATE TABLE moments_keys (
    experiment   bigint NOT NULL,
    plan_version integer NOT NULL,
    partition    smallint NOT NULL,
    variation    smallint NOT NULL,
    phase        integer NOT NULL,
    stratum      text NOT NULL,
    PRIMARY KEY (experiment, plan_version, partition, variation, stratum, phase)
);

-- What became of a request whose sender asked; kept 24 hours.
CREATE TABLE receipts (
    batch         uuid NOT NULL,
    request_id    text NOT NULL,
    part          integer NOT NULL,
    parts         integer NOT NULL,
    tenant        text NOT NULL,
    recorded      bigint NOT NULL,
    deduplicated  bigint NOT NULL,
    conflicts     bigint NOT NULL,
    dead_lettered bigint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch, request_id, part)
);
CREATE INDEX receipts_by_age ON receipts (created_at);

-- Events that were accepted and cannot be applied, with why.
CREATE TABLE dead_letters (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text NOT NULL,                -- '' = unknown: the frame could not be read
    experiment bigint NOT NULL,
    partition  smallint NOT NULL,
    entry      text NOT NULL,
    batch      uuid,
    request_id text,
    reason     text NOT NULL,                -- a stable code
    detail     text NOT NULL,
    events     bigint NOT NULL,
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_by_tenant ON dead_letters (tenant, id);

-- Everything that raw rows do not show. Partition is part of the key, so two owners never share a row.
CREATE TABLE counters (
    tenant     text NOT NULL,
    experiment bigint NOT NULL,
    partition  smallint NOT NULL,
    variation  smallint NOT NULL,
    day        date NOT NULL,
    name       text NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (tenant, experiment, partition, variation, day, name)
) WITH (fillfactor = 50);

CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    tenant     text NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    subject    text NOT NULL,
    request_id text NOT NULL,
    detail     text NOT NULL
);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant, id);
