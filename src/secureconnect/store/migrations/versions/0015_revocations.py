"""Since when a user's tokens count, and whether the user is disabled."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("tokens_not_before", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("kept_sign_in", sa.Uuid(), nullable=True))
    op.add_column("users", sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_users_tokens_not_before"), "users", ["tokens_not_before"], unique=False)
    op.create_index(op.f("ix_users_disabled_at"), "users", ["disabled_at"], unique=False)
