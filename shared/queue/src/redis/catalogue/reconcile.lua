#!lua flags=allow-oom
-- Applies the differences found by a reconciliation, unless somebody has written since it began.
-- KEYS[1] the catalogue. ARGV: channel, new version, version expected ('' = none), message to publish, number of
-- fields to delete, those fields, then pairs of field and value.
local catalogue = KEYS[1]
if (redis.call('HGET', catalogue, 'version') or '') ~= ARGV[3] then
  return 0
end
local deletes = tonumber(ARGV[5])
for i = 6, 5 + deletes do redis.call('HDEL', catalogue, ARGV[i]) end
for i = 6 + deletes, #ARGV, 2 do redis.call('HSET', catalogue, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', catalogue, 'version', ARGV[2])
redis.call('PUBLISH', ARGV[1], ARGV[4])
return 1
