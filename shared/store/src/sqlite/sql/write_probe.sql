-- 64 KiB: more than one page, and more than a nearly full disk has to spare.
INSERT INTO settings (name, value) VALUES ('write_probe', hex(zeroblob(32768)))
