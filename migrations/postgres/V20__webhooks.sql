-- Whom a tenant wants told of what. A row is locked by whoever adds a delivery or ends one, so numbers have no gaps.
CREATE TABLE webhooks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text NOT NULL,
    url         text NOT NULL,
    events      text[] NOT NULL,
    secret      bytea NOT NULL,              -- signs, so it cannot be a hash
    created_at  timestamptz NOT NULL DEFAULT now(),
    last_number bigint NOT NULL DEFAULT 0,
    next_at     timestamptz,                 -- when the first waiting delivery is due; null: none waits
    claim       uuid                         -- of the sender at work, which has it until next_at
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant, id);
CREATE INDEX webhooks_due ON webhooks (next_at) WHERE next_at IS NOT NULL;

-- The outbox, and the log of what became of it.
CREATE TABLE webhook_deliveries (
    webhook    bigint NOT NULL,
    number     bigint NOT NULL,              -- 1, 2, 3 .. of the webhook, the order of delivery
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    event      text NOT NULL,
    body       text NOT NULL,
    state      text NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
    attempts   integer NOT NULL DEFAULT 0,
    status     smallint,                     -- HTTP, of the last attempt
    error      text,                         -- a stable code, of the last attempt
    created_at timestamptz NOT NULL DEFAULT now(),
    tried_at   timestamptz,
    ended_at   timestamptz,
    PRIMARY KEY (webhook, number)
);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook, number) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

-- What webhooks were last told of an experiment, or of the tenant (experiment 0): moved by compare-and-set with the
-- deliveries that tell of the difference.
CREATE TABLE webhook_marks (
    tenant     text NOT NULL,
    experiment bigint NOT NULL,
    revision   bigint NOT NULL,
    state      text NOT NULL,                -- JSON, the analyzer's
    PRIMARY KEY (tenant, experiment)
);

-- When somebody last looked for differences.
CREATE TABLE webhook_looks (
    name text PRIMARY KEY,
    at   timestamptz NOT NULL
);
INSERT INTO webhook_looks (name, at) VALUES ('facts', 'epoch');

-- How many events of a tenant were dead-lettered, without reading its other counters.
CREATE INDEX counters_dead_lettered ON counters (tenant) WHERE name = 'dead_lettered';
