-- As migrations/postgres has them.

CREATE TABLE webhooks (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant      TEXT NOT NULL,
    url         TEXT NOT NULL,
    events      TEXT NOT NULL,               -- a JSON array
    secret      BLOB NOT NULL,
    created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    last_number INTEGER NOT NULL DEFAULT 0,
    next_at     INTEGER,
    claim       BLOB
) STRICT;
CREATE INDEX webhooks_by_tenant ON webhooks (tenant, id);
CREATE INDEX webhooks_due ON webhooks (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE webhook_deliveries (
    webhook    INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    id         BLOB NOT NULL,
    event      TEXT NOT NULL,
    body       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    status     INTEGER,
    error      TEXT,
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    tried_at   INTEGER,
    ended_at   INTEGER,
    PRIMARY KEY (webhook, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook, number) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE webhook_marks (
    tenant     TEXT NOT NULL,
    experiment INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    state      TEXT NOT NULL,
    PRIMARY KEY (tenant, experiment)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_looks (
    name TEXT NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO webhook_looks (name, at) VALUES ('facts', 0);

CREATE INDEX counters_dead_lettered ON counters (tenant) WHERE name = 'dead_lettered';
