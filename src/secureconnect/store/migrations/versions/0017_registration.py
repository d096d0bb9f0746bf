"""Who may register: what an existing deployment allowed, and invitations. Emails leave the text that searches read."""

import sqlalchemy as sa
from alembic import context, op

from secureconnect.store.unicode import fold

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


LAST_OF_0_1 = "0011"


def upgrade() -> None:
    deployment = op.create_table(
        "deployment",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_deployment")),
    )
    op.create_table(
        "registration_invitations",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_by", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_registration_invitations")),
    )
    if op.get_context().as_sql:
        return  # a script of SQL is for a new database, whose tables are empty
    connection = op.get_bind()
    users = sa.table(
        "users", sa.column("user_id", sa.Uuid()), sa.column("email"), sa.column("display_name"), sa.column("search_text")
    )
    has_users = connection.execute(sa.select(users.c.user_id).limit(1)).first() is not None
    # An empty database of 0.1 is told from a new one by the revision before this run; see store.schema.
    before = context.config.attributes.get("revision_before")
    if has_users or (before is not None and before <= LAST_OF_0_1):
        op.bulk_insert(deployment, [{"name": "upgraded_from", "value": "0.1"}])
    with_email = users.c.email.is_not(None)
    connection.execute(
        users.update()
        .where(with_email)
        .values(search_text=sa.func.replace(users.c.search_text, sa.literal(" ") + users.c.email, ""))
    )
    # An email outside ASCII may be folded to other characters than its own.
    rest = connection.execute(
        sa.select(users.c.user_id, users.c.display_name).where(with_email, users.c.search_text.contains("@"))
    ).all()
    for row in rest:
        connection.execute(users.update().where(users.c.user_id == row.user_id).values(search_text=f" {fold(row.display_name)}"))
