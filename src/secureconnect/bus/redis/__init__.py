"""The bus between nodes, on Redis 7: one atomic script a publish, sharded pub/sub as the doorbell, the stream as the truth.

`RedisBus` is all that others need, and `RedisCounts` for limits that hold on all nodes. Seqs are consecutive, so a subscriber
knows what it has not heard and reads it from the stream: after a gap, after any reconnect.
"""

from secureconnect.bus.redis.bus import RedisBus
from secureconnect.bus.redis.counts import RedisCounts

__all__ = ["RedisBus", "RedisCounts"]
