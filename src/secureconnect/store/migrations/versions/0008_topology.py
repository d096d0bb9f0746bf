"""Which way the media of a call goes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("topology", sa.String(length=8), server_default="p2p", nullable=False))
    op.add_column("calls", sa.Column("epoch", sa.Integer(), server_default="0", nullable=False))
    op.add_column("calls", sa.Column("sfu", sa.String(length=64), nullable=True))
    op.add_column("calls", sa.Column("topology_due", sa.DateTime(timezone=True), nullable=True))
