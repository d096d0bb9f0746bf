"""Which push service a push goes to: each has its own places. What waited before has none, and shares some.

The index that claims go by has only what is not done.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pushes", sa.Column("service", sa.String(length=255), server_default="", nullable=False))
    op.create_index(
        op.f("ix_pushes_provider_due_at_service"),
        "pushes",
        ["provider", "due_at", "service"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_index(op.f("ix_pushes_provider_due_at"), table_name="pushes")
