"""The schema, in the subset that SQLite, PostgreSQL and CockroachDB share.

Keys are UUIDs of version 7 made by us (no sequences), times are UTC, no triggers, no partial indexes, no locks by name.
`store.migrations` brings a database here; `tests/contract/test_store.py` proves that both say the same.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
    true,
)

from secureconnect.store.name import Name
from secureconnect.text import NAME_BYTES, NAME_CHARS, TITLE_BYTES, TITLE_CHARS, UNNAMED


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite keeps no time zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone would be stored as whatever the server thinks")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _display_name() -> Column[Any]:
    return Column("display_name", Name(NAME_CHARS, NAME_BYTES, UNNAMED), nullable=False)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("email", String(320), unique=True),
    _display_name(),
    Column("password_hash", Text),
    # Users of an outside identity provider are found by who vouches for them and under what name.
    Column("issuer", String(255)),
    Column("subject", String(255)),
    # The words people search by, folded by us because databases do not agree on case outside ASCII; see store.unicode.
    Column("search_text", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Access tokens that were issued before are refused, except those of the sign-in that was kept; see accounts.revocations.
    Column("tokens_not_before", UtcDateTime, index=True),
    Column("kept_sign_in", Uuid),
    Column("disabled_at", UtcDateTime, index=True),
    # The row of a deleted user stays for what refers to it; `erased_at` is set when nothing else is left to erase.
    Column("deleted_at", UtcDateTime),
    Column("erased_at", UtcDateTime),
    UniqueConstraint("issuer", "subject"),
    Index(None, "erased_at", "deleted_at"),
)

# One-time links by which users choose a new password. Only the hash of a token is kept; a used one is deleted.
password_resets = Table(
    "password_resets",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("family_id", Uuid, nullable=False, index=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime, index=True),
    # The device that signed in, when it said which it is: to revoke it ends the family.
    Column("device_id", Uuid),
    # A keyed hash of the network it came from: a stranger's failures do not lock out those who sign in from there.
    Column("network_mark", String(32)),
)

conversations = Table(
    "conversations",
    metadata,
    Column("conversation_id", Uuid, primary_key=True),
    Column("title", Name(TITLE_CHARS, TITLE_BYTES, None)),
    Column("created_by", Uuid, ForeignKey("users.user_id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Time-ordered like all our ids, so the list of conversations sorts by it; the conversation's own id until somebody writes.
    Column("last_activity_id", Uuid, nullable=False),
    Column("deleted_at", UtcDateTime),
    # When the last message of a deleted conversation was deleted; null until then.
    Column("purged_at", UtcDateTime),
    Index(None, "purged_at", "deleted_at"),
    # What 0.1 did is the default: rows of its nodes, during an upgrade and from before, keep it.
    Column("members_may_add", Boolean, nullable=False, server_default=true()),
    Column("history", String(16), nullable=False, server_default="all"),
)

conversation_members = Table(
    "conversation_members",
    metadata,
    Column("conversation_id", Uuid, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("joined_at", UtcDateTime, nullable=False),
    Column("read_message_id", Uuid),
    # The last entry before the member came, when earlier ones are not shown to the member.
    Column("history_after", Uuid),
    Column("added_by", Uuid),
    # The one who added the member is blocked by the member, to whom the conversation is not shown.
    Column("withheld", Boolean, nullable=False, server_default=false()),
    Index(None, "user_id", "conversation_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", Uuid, primary_key=True),
    Column("conversation_id", Uuid, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("sender_id", Uuid, ForeignKey("users.user_id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("call_id", Uuid),
    Column("created_at", UtcDateTime, nullable=False),
    # The member who blocks the sender, in a conversation of the two.
    Column("withheld_from", Uuid),
    Index(None, "conversation_id", "message_id"),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Uuid, primary_key=True),
    Column("conversation_id", Uuid, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("call_type", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("end_reason", String(16)),
    Column("version", Integer, nullable=False),
    Column("caller_id", Uuid, ForeignKey("users.user_id"), nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # Which way its media goes: what clients see, and the SFU that they do not.
    Column("topology", String(8), nullable=False, server_default="p2p"),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("sfu", String(64)),
    Column("topology_due", UtcDateTime),
    # What records it now, and who began that.
    Column("recording_id", Uuid),
    Column("recording_by", Uuid),
    Column("recording_at", UtcDateTime),
    # Its entry in the timeline; null of calls by nodes of 0.1.
    Column("entry_id", Uuid),
    # Whether anything ever did.
    Column("recorded", Boolean, nullable=False, server_default=false()),
    # The earliest ring, grace, life or topology deadline; null once the call is over. Timers look for what is due here.
    Column("due_at", UtcDateTime, index=True),
    Index(None, "conversation_id", "call_id"),
)

call_participants = Table(
    "call_participants",
    metadata,
    Column("call_id", Uuid, ForeignKey("calls.call_id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("position", Integer, nullable=False),
    _display_name(),
    Column("state", String(16), nullable=False),
    Column("waiting", Boolean, nullable=False),
    Column("devices", Text, nullable=False),
    Column("ring_deadline", UtcDateTime),
    Column("grace_deadline", UtcDateTime),
    Column("joined_at", UtcDateTime),
    Column("left_at", UtcDateTime),
    # What is remembered of the ring, whatever the person did afterwards; null of who was not rung.
    Column("rang_at", UtcDateTime),
    Column("rang_waiting", Boolean),
    Column("ring_end", String(16)),
    Column("ring_ended_at", UtcDateTime),
    Column("ring_device_id", Uuid),
    # How a ring that the person blocks was withheld; null of one that was not.
    Column("ring_withheld", String(8)),
    Index(None, "user_id", "call_id"),
    Index(None, "user_id", "state"),
)

call_sessions = Table(
    "call_sessions",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.call_id"), nullable=False, index=True),
    Column("user_id", Uuid, nullable=False),
    Column("device_id", Uuid),
    # The node that holds the open socket; null while the session is between two sockets.
    Column("node_id", Uuid, index=True),
    Column("generation", Integer, nullable=False),
    # The number that the client gave the attempt which opened the present socket.
    Column("attempt", BigInteger, nullable=False, server_default="0"),
    Column("expires_at", UtcDateTime),
)

nodes = Table(
    "nodes",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("lease_until", UtcDateTime, nullable=False, index=True),
)

# From when on calls and recordings use the keys of a version; see keys.InternalKeys.
internal_keys = Table(
    "internal_keys",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("starts_at", UtcDateTime, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("resource_id", Uuid, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

# Where a person's devices can be woken. One app may be reached in two ways: an iPhone's calls by apns_voip, its notices by apns.
devices = Table(
    "devices",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("device_id", Uuid, primary_key=True),
    Column("provider", String(16), primary_key=True),
    Column("platform", String(16), nullable=False),
    # A token, or a Web Push subscription as JSON; the hash is what an index can hold.
    Column("address", Text, nullable=False),
    Column("address_hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

# The outbox: what devices are to be told, written with the change of the call that it tells of.
pushes = Table(
    "pushes",
    metadata,
    Column("push_id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.call_id"), nullable=False, index=True),
    Column("user_id", Uuid, nullable=False),
    Column("device_id", Uuid, nullable=False),
    Column("provider", String(16), nullable=False),
    # Which of the provider's services it goes to: of Web Push the origin of the push service, of others there is but one.
    Column("service", String(255), nullable=False, server_default=""),
    Column("kind", String(16), nullable=False),
    Column("payload", Text, nullable=False),
    # One push of a kind for a device and a call, however often the change is decided.
    Column("dedupe_key", String(200), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    # When somebody is to look at it next: at once, after a pause, or when the lease of a sender that may have died has run out.
    # Null once it is done.
    Column("due_at", UtcDateTime),
    # Who is sending it now, and how often somebody began to.
    Column("lease_owner", Uuid),
    Column("attempts", Integer, nullable=False),
    Column("done_at", UtcDateTime, index=True),
    Column("outcome", String(16)),
    Column("detail", String(200)),
    # The attempts that were answered, as JSON: never asked for but with the rest of the row.
    Column("history", Text),
    # Of what is not done only: that is little, and a month of the rest would be in the way of each claim.
    Index(
        None, "provider", "due_at", "service", postgresql_where=text("due_at IS NOT NULL"), sqlite_where=text("due_at IS NOT NULL")
    ),
)

# How well a session was connected, every few seconds of its call.
quality_readings = Table(
    "quality_readings",
    metadata,
    # Both ids begin with their time: a call's readings stand together, oldest first, and old calls at one end.
    Column("call_id", Uuid, primary_key=True),
    Column("reading_id", Uuid, primary_key=True),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("level", Integer),
    Column("rtt_ms", Float),
    Column("jitter_ms", Float),
    Column("loss", Float),
    Column("in_kbps", Float),
    Column("out_kbps", Float),
    Column("mos", Float),
)

# What devices made of a ring: it came by a socket, it was shown, an answer was refused. One of a kind for a device and a call.
ring_receipts = Table(
    "ring_receipts",
    metadata,
    Column("call_id", Uuid, ForeignKey("calls.call_id"), primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    # All zeros for the devices that give no name.
    Column("device_id", Uuid, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("reason", String(32), nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
)

# What was recorded of calls: begun and stopped with the change of the call, then made into a film by whoever takes it.
recordings = Table(
    "recordings",
    metadata,
    Column("recording_id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.call_id"), nullable=False, index=True),
    Column("conversation_id", Uuid, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("started_by", Uuid, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
    Column("status", String(16), nullable=False),
    # As of pushes: null while it records, and once it is ready or has failed.
    Column("due_at", UtcDateTime, index=True),
    Column("lease_owner", Uuid),
    Column("attempts", Integer, nullable=False),
    # The film: how long, how large, what it is, its name in the object store.
    Column("seconds", Float),
    Column("bytes", BigInteger),
    Column("content_type", String(64)),
    Column("object_name", String(200)),
    Column("failure", String(200)),
    # When it is deleted, with the film and with what the SFU wrote.
    Column("kept_until", UtcDateTime, index=True),
)

# What an outside application is told of calls, written with the change that it tells of: outbox and memory in one.
webhook_events = Table(
    "webhook_events",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.call_id"), nullable=False),
    # Grows with each event of a call; those of one call go out in this order.
    Column("sequence", BigInteger, nullable=False),
    Column("type", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    # As of pushes.
    Column("due_at", UtcDateTime, index=True),
    Column("lease_owner", Uuid),
    Column("attempts", Integer, nullable=False),
    Column("done_at", UtcDateTime, index=True),
    Column("outcome", String(16)),
    Column("detail", String(200)),
    UniqueConstraint("call_id", "sequence"),
)
