UPDATE webhook_looks SET at = now() WHERE name = 'facts' AND at <= now() - $1 * interval '1 microsecond'
