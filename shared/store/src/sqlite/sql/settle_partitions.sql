-- The first start records the number of partitions; every later one is told what was recorded.
INSERT INTO settings (name, value) VALUES ('partitions', ?1) ON CONFLICT DO NOTHING
