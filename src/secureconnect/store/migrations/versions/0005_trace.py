"""What became of each ring: how it ended, every attempt to push, what devices made of it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("call_participants", sa.Column("rang_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("call_participants", sa.Column("rang_waiting", sa.Boolean(), nullable=True))
    op.add_column("call_participants", sa.Column("ring_end", sa.String(length=16), nullable=True))
    op.add_column("call_participants", sa.Column("ring_ended_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("call_participants", sa.Column("ring_device_id", sa.Uuid(), nullable=True))
    op.add_column("pushes", sa.Column("history", sa.Text(), nullable=True))
    op.create_table(
        "ring_receipts",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=op.f("fk_ring_receipts_call_id")),
        sa.PrimaryKeyConstraint("call_id", "user_id", "device_id", "kind", name=op.f("pk_ring_receipts")),
    )
    op.create_index(op.f("ix_ring_receipts_at"), "ring_receipts", ["at"], unique=False)
