"""What records a call, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("recording_id", sa.Uuid(), nullable=True))
    op.add_column("calls", sa.Column("recording_by", sa.Uuid(), nullable=True))
    op.add_column("calls", sa.Column("recording_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("calls", sa.Column("recorded", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "recordings",
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("started_by", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("content_type", sa.String(length=64), nullable=True),
        sa.Column("object_name", sa.String(length=200), nullable=True),
        sa.Column("failure", sa.String(length=200), nullable=True),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=op.f("fk_recordings_call_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_recordings_conversation_id")),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_recordings")),
    )
    op.create_index(op.f("ix_recordings_call_id"), "recordings", ["call_id"], unique=False)
    op.create_index(op.f("ix_recordings_due_at"), "recordings", ["due_at"], unique=False)
    op.create_index(op.f("ix_recordings_kept_until"), "recordings", ["kept_until"], unique=False)
