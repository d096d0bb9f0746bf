"""What Redis itself runs for the bus, each as one step: append to a topic, and read one. Called by the bus alone.

`topics` says which keys a topic has, and writes the arguments.
"""

LOG_SECONDS = 900
"""How long a log is kept: a minute less than this after its last entry, or all of it. Longer than any grace, short enough that
ended calls do not pile up.
"""
CALL_SECONDS = 90_000
"""The same for the head and the retained state of a call: a call may be silent for all its life of a day (`calls.call.LIFE`), and
whoever comes back must find what was said of it. A call that is over has no state, and its head is small.
"""

APPEND = """
local head, log, state, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publisher, server = ARGV[1], ARGV[2]
local known = redis.call('HMGET', head, 'seq', 'server', 'kept', publisher)
local now = redis.call('TIME')
local seq, last, last_seq = tonumber(known[1] or 0), 0, nil
if known[4] then
    last, last_seq = string.match(known[4], '(%d+) (%d+)')
    last = tonumber(last)
end
if known[2] ~= server then seq = math.max(seq, now[1] * 1000000 + now[2] - 1) end
local seqs, told, retains, before, grown = {}, {}, false, seq, 0
for at = 7, #ARGV, 7 do
    local number, sender, target, body, change = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    if number > last then
        seq, last, grown = seq + 1, number, grown + #body
        last_seq = string.format('%.0f', seq)
        redis.call('XADD', log, 'MAXLEN', '~', ARGV[3], last_seq .. '-0', 's', sender, 't', target, 'b', body)
        if change == 'set' then
            redis.call('HSET', state, ARGV[at + 5], ARGV[at + 6])
            retains = true
        elseif change == 'remove' then
            redis.call('HDEL', state, ARGV[at + 5])
        end
        told[#told + 1] = last_seq .. ' ' .. sender .. ' ' .. target .. ' ' .. #body .. '\\n' .. body
    end
    seqs[#seqs + 1] = last_seq
end
if #told > 0 then
    redis.call('HSET', head, 'seq', last_seq, 'server', server, publisher, string.format('%.0f', last) .. ' ' .. last_seq)
    if retains or not known[3] or math.abs(now[1] - known[3]) >= 60 then
        redis.call('HSET', head, 'kept', now[1])
        redis.call('EXPIRE', log, ARGV[4])
        redis.call('EXPIRE', head, ARGV[5])
        redis.call('EXPIRE', state, ARGV[5])
    end
    redis.call('SPUBLISH', channel, table.concat(told))
    if grown > 4096 or math.floor(seq / 64) ~= math.floor(before / 64) then
        local limit, size = tonumber(ARGV[6]), redis.pcall('MEMORY', 'USAGE', log, 'SAMPLES', 0)
        while type(size) == 'number' and size > limit do
            local kept = math.floor(redis.call('XLEN', log) * 7 / 8)
            if kept < 1 then break end
            redis.call('XTRIM', log, 'MAXLEN', kept)
            size = redis.pcall('MEMORY', 'USAGE', log, 'SAMPLES', 0)
        end
    end
end
return seqs
"""
"""Entries of one publisher on one topic, in order; answers the seq of each.

A publisher that does not know whether its last batch arrived sends it again; its numbers tell the script what it has seen.

Seqs begin at the time in microseconds and count by one, so they stay far behind the time. A topic that this server has not
written before (`server` is its run id: another master took over, or it restarted) goes on from the time: whatever the one before
gave and did not pass on, no seq is given twice, and whoever heard more sees a gap instead of mistaking the new for the old.

The log has a limit in bytes as Redis counts them, which includes entries that nodes of 0.1 appended: those limit entries alone. It
is checked at each large entry and each 64th small one, so a log may pass it by 256 KiB. A Redis user without the right to MEMORY
has the limit in entries only.
"""

READ = """#!lua flags=allow-oom
local seq = redis.call('HGET', KEYS[1], 'seq')
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
local entries = {}
if ARGV[1] ~= '' then entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+') end
return {seq or '0', first[1] and first[1][1] or '', entries, redis.call('HGETALL', KEYS[3])}
"""
"""It writes nothing. Without the flag `no-writes` a replica refuses it (READONLY): a master of before must not tell old news."""

PROBE_SECONDS = 60
PROBE = """
redis.call('HSET', KEYS[1], 'at', redis.call('TIME')[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 'OK'
"""
"""A write as APPEND makes it: refused by a replica, or when memory, disk or replicas are missing."""
