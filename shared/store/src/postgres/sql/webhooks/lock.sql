-- In one order, so that two who tell of different facts cannot wait for each other.
SELECT id FROM webhooks WHERE tenant = $1 ORDER BY id FOR UPDATE
