"""Who adds whom to a conversation, what new members see, who left, and who blocks whom."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("members_may_add", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("conversations", sa.Column("history", sa.String(length=16), server_default="all", nullable=False))
    op.add_column("conversation_members", sa.Column("history_after", sa.Uuid(), nullable=True))
    op.add_column("conversation_members", sa.Column("added_by", sa.Uuid(), nullable=True))
    op.add_column("conversation_members", sa.Column("withheld", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("messages", sa.Column("withheld_from", sa.Uuid(), nullable=True))
    op.add_column("calls", sa.Column("entry_id", sa.Uuid(), nullable=True))
    op.add_column("call_participants", sa.Column("ring_withheld", sa.String(length=8), nullable=True))
    op.create_table(
        "conversation_departures",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_conversation_departures_conversation_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_conversation_departures_user_id")),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_conversation_departures")),
    )
    op.create_table(
        "conversation_invitations",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_conversation_invitations_conversation_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_conversation_invitations_user_id")),
        sa.ForeignKeyConstraint(["invited_by"], ["users.user_id"], name=op.f("fk_conversation_invitations_invited_by")),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_conversation_invitations")),
    )
    name = op.f("ix_conversation_invitations_user_id_conversation_id")
    op.create_index(name, "conversation_invitations", ["user_id", "conversation_id"], unique=False)
    op.create_table(
        "user_blocks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("blocked_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_user_blocks_user_id")),
        sa.ForeignKeyConstraint(["blocked_id"], ["users.user_id"], name=op.f("fk_user_blocks_blocked_id")),
        sa.PrimaryKeyConstraint("user_id", "blocked_id", name=op.f("pk_user_blocks")),
    )
    op.create_index(op.f("ix_user_blocks_blocked_id_user_id"), "user_blocks", ["blocked_id", "user_id"], unique=False)
