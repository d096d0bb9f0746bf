"""Alembic's entry: runs the migrations on the connection that `store.schema` hands over."""

from alembic import context

from secureconnect.store import access_tables
from secureconnect.store.tables import metadata

connection = context.config.attributes["connection"]
assert access_tables.user_blocks.metadata is metadata
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
