"""From when on calls and recordings use derived keys."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ROLLING_UPGRADE = timedelta(days=1)
"""How long nodes of 0.1 may run beside ours: they know only the keys that they have."""


def upgrade() -> None:
    table = op.create_table(
        "internal_keys",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_internal_keys")),
    )
    connection = op.get_bind()
    # A database that 0.1 never used has nothing to be compatible with; a script of SQL is for a new one.
    is_used = not op.get_context().as_sql and any(
        connection.execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first()  # noqa: S608
        for name in ("users", "nodes")
    )
    starts_at = datetime.fromtimestamp(0, UTC)
    if is_used:
        starts_at = connection.execute(sa.select(sa.func.current_timestamp())).scalar_one() + ROLLING_UPGRADE
    op.bulk_insert(table, [{"version": 1, "starts_at": starts_at}])
