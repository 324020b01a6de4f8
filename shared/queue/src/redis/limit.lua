#!lua flags=allow-oom
-- Takes from an allowance that all gateways share (generic cell rate algorithm).
-- KEYS[1] when all is used up, in microseconds of this server's clock. ARGV: allowed a second, given back, wanted at the
-- least, wanted at the most. Answers what was given, and if that is nothing the microseconds until the least is there.
-- Allowed when memory is full: a limit must not fall away because the queue is at its own.
local each, burst = 1e6 / tonumber(ARGV[1]), 1e6
local back, least, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
-- Counted from a date not long ago: a double keeps fractions of a microsecond.
local now = (tonumber(time[1]) - 1.7e9) * 1e6 + tonumber(time[2])
local used = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - back * each, now)

local room = math.floor((now + burst - used) / each + 1e-6)
local given = 0
if room >= least then
  given = math.min(room, most)
elseif used <= now then
  given = least
end
if given > 0 or back > 0 then
  used = used + given * each
  redis.call('SET', KEYS[1], string.format('%.3f', used), 'PX', math.ceil((used - now) / 1000) + 1000)
end
if given > 0 then return {given, 0} end
local wait = used - now
if least * each <= burst then wait = wait + least * each - burst end
return {0, math.ceil(wait)}
