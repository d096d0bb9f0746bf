"""When the messages of a deleted conversation were deleted. 0.1 only hid them: those are deleted from now on."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_conversations_purged_at_deleted_at"), "conversations", ["purged_at", "deleted_at"], unique=False)
