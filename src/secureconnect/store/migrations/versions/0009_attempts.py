"""By which of a client's attempts to connect a session's socket was opened."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("call_sessions", sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False))
