-- After a failure the first waits; after an end the next one is due, if there is one.
UPDATE webhooks SET claim = NULL, next_at = CASE
    WHEN $2::double precision IS NOT NULL THEN now() + $2 * interval '1 microsecond'
    WHEN EXISTS (SELECT 1 FROM webhook_deliveries AS d WHERE d.webhook = $1 AND d.state = 'waiting') THEN now()
END WHERE id = $1
