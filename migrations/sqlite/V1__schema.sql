-- abstream's books, as migrations/postgres has them. Times are microseconds since 1970-01-01T00:00:00Z, days are
-- days since then, ids of 16 bytes are blobs. A table whose key is most of its row has no rowid: one tree, one
-- page touched for a row.

-- What is fixed for a deployment: the number of partitions.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE experiments (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant       TEXT NOT NULL,
    key          TEXT NOT NULL,
    definition   TEXT NOT NULL,              -- JSON; text keeps its decimals as written
    plan_version INTEGER NOT NULL DEFAULT 1,
    revision     INTEGER NOT NULL DEFAULT 1, -- raised by every change; orders the writers of the projection
    status       TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'stopped', 'archived', 'deleted')),
    created_at   INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    started_at   INTEGER,
    stopped_at   INTEGER,
    UNIQUE (tenant, key)                     -- for ever: a deleted experiment keeps its row and its key
) STRICT;

-- Where each partition's stream has been applied to. `position` is moved by compare-and-set at the start of every
-- apply transaction; `epoch` is raised by whoever else changes what the owner caches.
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    epoch     INTEGER NOT NULL DEFAULT 0,
    position  TEXT NOT NULL DEFAULT '0-0',   -- id of the last entry applied
    day       INTEGER NOT NULL DEFAULT 0,
    accepted  INTEGER NOT NULL DEFAULT 0,    -- events of distinct entries, by the writers' running totals
    lost      INTEGER NOT NULL DEFAULT 0     -- of these, events of entries that never arrived
) STRICT;

-- Last entry applied of each writer: a number not above it was written twice.
CREATE TABLE writers (
    partition INTEGER NOT NULL,
    writer    BLOB NOT NULL,
    number    INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    seen_ms   INTEGER NOT NULL,              -- stream time of that entry
    PRIMARY KEY (partition, writer)
) STRICT, WITHOUT ROWID;

-- One user of one tenant; the id is a hash of both and ordered by partition.
CREATE TABLE units (
    unit    BLOB NOT NULL PRIMARY KEY,
    tenant  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    state   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The dedupe ledger and every user's history, in one tree.
CREATE TABLE conversions (
    unit           BLOB NOT NULL,
    experiment     INTEGER NOT NULL,         -- 0 = the tenant's
    key            TEXT NOT NULL,
    value          INTEGER NOT NULL,         -- millionths
    occurred_at    INTEGER NOT NULL,         -- after clock correction
    received_at    INTEGER NOT NULL,
    batch          BLOB NOT NULL,
    day            INTEGER NOT NULL,         -- when it was applied
    occurred_given INTEGER,                  -- as the client wrote it
    tenant         TEXT NOT NULL,
    metric         TEXT NOT NULL,
    PRIMARY KEY (unit, experiment, key)
) STRICT, WITHOUT ROWID;

-- The cumulative sums of an arm at the end of a day on which they changed.
CREATE TABLE moments (
    experiment   INTEGER NOT NULL,
    plan_version INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    variation    INTEGER NOT NULL,
    stratum      TEXT NOT NULL,
    phase        INTEGER NOT NULL,
    day          INTEGER NOT NULL,
    vector       BLOB NOT NULL,
    PRIMARY KEY (experiment, plan_version, partition, variation, stratum, phase, day)
) STRICT, WITHOUT ROWID;

-- The distinct keys of `moments`, so that the last row of each is one descent.
CREATE TABLE moments_keys (
    experiment   INTEGER NOT NULL,
    plan_version INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    variation    INTEGER NOT NULL,
    stratum      TEXT NOT NULL,
    phase        INTEGER NOT NULL,
    PRIMARY KEY (experiment, plan_version, partition, variation, stratum, phase)
) STRICT, WITHOUT ROWID;

-- What became of a request whose sender asked; kept 24 hours.
CREATE TABLE receipts (
    batch         BLOB NOT NULL,
    request_id    TEXT NOT NULL,
    part          INTEGER NOT NULL,
    parts         INTEGER NOT NULL,
    tenant        TEXT NOT NULL,
    recorded      INTEGER NOT NULL,
    deduplicated  INTEGER NOT NULL,
    conflicts     INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    created_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    PRIMARY KEY (batch, request_id, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_age ON receipts (created_at);

-- Events that were accepted and cannot be applied, with why.
CREATE TABLE dead_letters (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT NOT NULL,                -- '' = unknown: the frame could not be read
    experiment INTEGER NOT NULL,
    partition  INTEGER NOT NULL,
    entry      TEXT NOT NULL,
    batch      BLOB,
    request_id TEXT,
    reason     TEXT NOT NULL,                -- a stable code
    detail     TEXT NOT NULL,
    events     INTEGER NOT NULL,
    payload    BLOB NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000)
) STRICT;
CREATE INDEX dead_letters_by_tenant ON dead_letters (tenant, id);

-- Everything that raw rows do not show.
CREATE TABLE counters (
    tenant     TEXT NOT NULL,
    experiment INTEGER NOT NULL,
    partition  INTEGER NOT NULL,
    variation  INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    name       TEXT NOT NULL,
    n          INTEGER NOT NULL,
    PRIMARY KEY (tenant, experiment, partition, variation, day, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    tenant     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail     TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_by_tenant ON audit_log (tenant, id);
