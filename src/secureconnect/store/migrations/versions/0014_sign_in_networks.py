"""From which network a sign-in came, as a keyed hash: it may sign in although strangers fail."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refresh_tokens", sa.Column("network_mark", sa.String(length=32), nullable=True))
