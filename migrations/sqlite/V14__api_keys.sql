-- Keys that admins issue. The key itself is shown once and not kept.
CREATE TABLE api_keys (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant      TEXT NOT NULL,
    -- SHA-256 of the key.
    digest      BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    name        TEXT NOT NULL,
    -- By commas.
    scopes      TEXT NOT NULL,
    last_digits TEXT NOT NULL,
    created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000),
    revoked_at  INTEGER
) STRICT;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);
