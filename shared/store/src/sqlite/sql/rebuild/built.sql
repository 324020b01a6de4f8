-- Experiments whose version asked for is there in every partition.
SELECT e.id FROM experiments e
WHERE e.next_version IS NOT NULL
  AND EXISTS (SELECT 1 FROM rebuilds r WHERE r.experiment = e.id)
  AND NOT EXISTS (SELECT 1 FROM rebuilds r WHERE r.experiment = e.id AND NOT r.done)
ORDER BY e.id
