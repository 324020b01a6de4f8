-- Keys that admins issue. The key itself is shown once and not kept.
CREATE TABLE api_keys (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text NOT NULL,
    -- SHA-256 of the key.
    digest      bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    name        text NOT NULL,
    -- By commas.
    scopes      text NOT NULL,
    last_digits text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);
