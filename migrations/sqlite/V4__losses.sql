-- What a stream should have held and did not, as the writers' numbers and totals show. Written by the owner in the
-- transaction that finds it out, so each is here once.
CREATE TABLE losses (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    partition    INTEGER NOT NULL,
    writer       BLOB,                       -- null: of no writer, the stream was replaced
    first_number INTEGER NOT NULL,           -- entries of the writer that are gone, or the one that is cut short
    last_number  INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    entry        TEXT NOT NULL,              -- the entry that showed it
    why          TEXT NOT NULL,              -- a stable code
    seen_at      INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000)
) STRICT;
