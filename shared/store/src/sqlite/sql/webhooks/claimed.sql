SELECT EXISTS (SELECT 1 FROM webhooks WHERE id = ?1 AND claim = ?2)
