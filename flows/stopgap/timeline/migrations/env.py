"""What Alembic runs: the migrations, on the connection that `stopgap.timeline.migrate` hands over."""

from alembic import context

from stopgap.timeline import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
with context.begin_transaction():
    context.run_migrations()
