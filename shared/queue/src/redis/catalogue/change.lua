#!lua flags=allow-oom
-- Writes or removes one experiment, unless a newer revision is there already, and keeps the lists of its metrics.
-- KEYS[1] the catalogue. ARGV: channel, new version, id, id field, key field, entry as JSON ('' = remove it),
-- revision, prefix of metric fields, then the entry's metrics.
-- Allowed when memory is full: a stopped experiment must not go on because the queue is at its limit.
local catalogue, id = KEYS[1], ARGV[3]
local changed = {ARGV[4], ARGV[5]}
local stored = redis.call('HGET', catalogue, ARGV[4])
stored = stored and cjson.decode(stored)
if stored and ARGV[6] ~= '' and stored.revision > tonumber(ARGV[7]) then
  return 0
end

local uses = {}
for _, metric in ipairs(stored and stored.metrics or {}) do uses[ARGV[8] .. metric] = false end
for i = 9, #ARGV do uses[ARGV[8] .. ARGV[i]] = true end
for field, used in pairs(uses) do
  local ids, present = {}, false
  for other in string.gmatch(redis.call('HGET', catalogue, field) or '', '%d+') do
    if other == id then present = true else ids[#ids + 1] = other end
  end
  if used ~= present then
    if used then
      ids[#ids + 1] = id
      table.sort(ids, function(a, b) return tonumber(a) < tonumber(b) end)
    end
    if #ids > 0 then
      redis.call('HSET', catalogue, field, table.concat(ids, ','))
    else
      redis.call('HDEL', catalogue, field)
    end
    changed[#changed + 1] = field
  end
end

if ARGV[6] ~= '' then
  redis.call('HSET', catalogue, ARGV[4], ARGV[6], ARGV[5], ARGV[6])
else
  redis.call('HDEL', catalogue, ARGV[4], ARGV[5])
end
redis.call('HSET', catalogue, 'version', ARGV[2])
redis.call('PUBLISH', ARGV[1], table.concat(changed, '\n'))
return 1
