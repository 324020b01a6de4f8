-- What takes days, or others, to come about: a row of everything that a file may hold.
UPDATE experiments SET phases = '[{"began_at":1,"coverage":0.5,"weights":[1.0,3.0]}]' WHERE key = 'one';
UPDATE experiments SET plan_version = 2, next_definition = '{}', next_version = 3, archived_at = 4000001, purged_at = 5000002
WHERE key = 'gone';

INSERT INTO webhooks (tenant, url, events, secret, last_number, next_at, claim) VALUES
    ('a', 'http://x/', '["dead_letters","srm_mismatch"]', x'00ff', 3, 6000003, x'00112233445566778899aabbccddeeff'),
    ('a', 'http://ü/', '[]', x'01', 0, NULL, NULL),
    ('other', 'http://x/', '["srm_mismatch"]', x'02', 0, NULL, NULL);
INSERT INTO webhook_deliveries (webhook, number, id, event, body, state, attempts, status, error, tried_at, ended_at) VALUES
    (1, 1, x'00112233445566778899aabbccddeeff', 'srm_mismatch', '{"a": 1}', 'delivered', 1, 200, NULL, 7000004, 7000005),
    (1, 2, x'01112233445566778899aabbccddeeff', 'srm_mismatch', '{}', 'given_up', 9, NULL, 'timeout', 8000004, 8000005),
    (1, 3, x'02112233445566778899aabbccddeeff', 'dead_letters', '{}', 'waiting', 0, NULL, NULL, NULL, NULL);
INSERT INTO webhook_marks (tenant, experiment, revision, state) VALUES
    ('a', 0, 4, '{}'), ('a', 1, 1, '{"x": []}'), ('other', 3, 2, '{}');
UPDATE webhook_looks SET at = 9000006;
INSERT INTO webhook_looks (name, at) VALUES ('another', 1), ('third', 2);

INSERT INTO erasures (unit, partition, tenant, actor, request_id) VALUES
    (x'00000000000000000000000000000000', 0, 'a', 'somebody', 'r-1'),
    (x'0fffffffffffffffffffffffffffffff', 0, 'a', 'somebody', 'r-2'),
    (x'10000000000000000000000000000000', 0, 'a', 'somebody', 'r-3'),
    (x'87654321fedcba980123456789abcdef', 2, 'a', 'somebody', 'r-4'),
    (x'ffffffffffffffffffffffffffffffff', 3, 'other', 'x', 'r-5');
INSERT INTO purges
    (partition, dry_run, conversions_before, dead_letters_before, audit_before, cursor, done, conversions, dead_letters, audit)
VALUES
    (0, 0, 20000, NULL, 19000, x'00112233445566778899aabbccddeeff', 1, 5, 0, 7),
    (1, 0, 20000, NULL, 19000, x'40112233445566778899aabbccddeeff', 0, 1, 0, 0),
    (0, 1, NULL, 20001, NULL, NULL, 1, 0, 2, 0),
    (1, 1, NULL, 20001, NULL, NULL, 1, 0, 3, 0);
