"""How much a topic's log keeps for those who come back, in entries and bytes: the same on every bus. Pure.

A reader who asks for entries that were dropped gets a snapshot instead.
"""

LOG_ENTRIES = 1024
"""The busiest 30 s of a normal call (four people renegotiate, 200 frames) fit five times."""
CALL_LOG_BYTES = 2 * 1024 * 1024
"""Descriptions of media (SDP) are 4 KB each: those 30 s fit twice."""
USER_LOG_BYTES = 128 * 1024
"""What the devices of one user have missed: some 200 messages. All of it is in the database as well."""


def bytes_of_log(topic: str) -> int:
    """How many bytes the log of this topic may keep."""
    return CALL_LOG_BYTES if topic.startswith("call:") else USER_LOG_BYTES
