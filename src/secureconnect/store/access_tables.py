"""Tables about who may be here and who reaches whom. They belong to the schema of store.tables."""

from sqlalchemy import Column, ForeignKey, Index, String, Table, Uuid

from secureconnect.store.tables import UtcDateTime, metadata

# Facts about the deployment as a whole, by name.
deployment = Table(
    "deployment",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(200), nullable=False),
)

# Each admits one new account while registration is by invitation.
registration_invitations = Table(
    "registration_invitations",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    Column("used_by", Uuid),
)

# People who were in a conversation and are not any more; `removed_by` is null of those who left by themselves.
conversation_departures = Table(
    "conversation_departures",
    metadata,
    Column("conversation_id", Uuid, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("left_at", UtcDateTime, nullable=False),
    Column("removed_by", Uuid),
)

# People who left and whose consent to return is awaited.
conversation_invitations = Table(
    "conversation_invitations",
    metadata,
    Column("conversation_id", Uuid, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("invited_by", Uuid, ForeignKey("users.user_id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "user_id", "conversation_id"),
)

user_blocks = Table(
    "user_blocks",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("blocked_id", Uuid, ForeignKey("users.user_id"), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "blocked_id", "user_id"),
)
