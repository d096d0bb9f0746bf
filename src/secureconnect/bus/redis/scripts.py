"""What Redis itself runs for the bus, each as one step: append to a topic, and read one. Called by the bus alone.

`topics` says which keys a topic has.
"""

LOG_ENTRIES = 1024
LOG_SECONDS = 900
"""How long a log outlives its last entry: longer than any grace, short enough that ended calls do not pile up."""
CALL_SECONDS = 90_000
"""The same for the head and the retained state of a call: a call may be silent for all its life of a day (`calls.call.LIFE`), and
whoever comes back must find what was said of it. A call that is over has no state, and its head is small.
"""

APPEND = """
local head, log, state, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publisher, number, sender, target, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local mark = redis.call('HGET', head, publisher)
if mark then
    local last, seq = string.match(mark, '(%d+) (%d+)')
    if tonumber(number) <= tonumber(last) then return seq end
end
local seq
if redis.call('HEXISTS', head, 'seq') == 1 then
    seq = string.format('%.0f', redis.call('HINCRBY', head, 'seq', 1))
else
    local now = redis.call('TIME')
    seq = string.format('%.0f', now[1] * 1000000 + now[2])
    redis.call('HSET', head, 'seq', seq)
end
redis.call('HSET', head, publisher, number .. ' ' .. seq)
redis.call('XADD', log, 'MAXLEN', '~', ARGV[6], seq .. '-0', 's', sender, 't', target, 'b', body)
if ARGV[8] == 'set' then redis.call('HSET', state, ARGV[9], ARGV[10])
elseif ARGV[8] == 'remove' then redis.call('HDEL', state, ARGV[9]) end
redis.call('EXPIRE', log, ARGV[7])
for _, key in ipairs({head, state}) do redis.call('EXPIRE', key, ARGV[11]) end
redis.call('SPUBLISH', channel, seq .. ' ' .. sender .. ' ' .. target .. ' ' .. body)
return seq
"""
"""A publisher that does not know whether its last batch arrived sends it again; its numbers tell the script what it has seen."""

READ = """
local seq = redis.call('HGET', KEYS[1], 'seq')
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
local entries = {}
if ARGV[1] ~= '' then entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+') end
return {seq or '0', first[1] and first[1][1] or '', entries, redis.call('HGETALL', KEYS[3])}
"""
