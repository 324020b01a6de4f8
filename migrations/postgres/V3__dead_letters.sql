-- Past its tenant's bound a letter keeps no payload, only what tells it from others.
ALTER TABLE dead_letters ADD COLUMN digest bytea; -- SHA-256 of the payload that was not kept
CREATE INDEX dead_letters_kept ON dead_letters (tenant) WHERE digest IS NULL;
