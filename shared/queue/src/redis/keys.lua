#!lua flags=allow-oom
-- Replaces the edition of issued keys, unless another one is there by now.
-- KEYS[1] the hash. ARGV: channel, version expected ('' = none), new version, keys as JSON.
-- Allowed when memory is full: a revoked key must not go on because the queue is at its limit.
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'keys', ARGV[4])
redis.call('PUBLISH', ARGV[1], ARGV[3])
return 1
