"""How well sessions were connected."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quality_readings",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("reading_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.Integer(), nullable=True),
        sa.Column("rtt_ms", sa.Float(), nullable=True),
        sa.Column("jitter_ms", sa.Float(), nullable=True),
        sa.Column("loss", sa.Float(), nullable=True),
        sa.Column("in_kbps", sa.Float(), nullable=True),
        sa.Column("out_kbps", sa.Float(), nullable=True),
        sa.Column("mos", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("call_id", "reading_id", name=op.f("pk_quality_readings")),
    )
