-- What a stream should have held and did not, as the writers' numbers and totals show. Written by the owner in the
-- transaction that finds it out, so each is here once.
CREATE TABLE losses (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition    smallint NOT NULL,
    writer       uuid,                       -- null: of no writer, the stream was replaced
    first_number bigint NOT NULL,            -- entries of the writer that are gone, or the one that is cut short
    last_number  bigint NOT NULL,
    events       bigint NOT NULL,
    entry        text NOT NULL,              -- the entry that showed it
    why          text NOT NULL,              -- a stable code
    seen_at      timestamptz NOT NULL DEFAULT now()
);
