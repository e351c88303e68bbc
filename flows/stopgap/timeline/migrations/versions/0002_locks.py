"""Make the table of locks on targets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table. It may be there: a backup of version 0001, brought back into a newer database, takes the version back and leaves it."""
    op.create_table(
        "lock",
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("is_held", sa.Boolean, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_index("lock_held", "lock", ["target"], unique=True, postgresql_where=sa.text("is_held"), if_not_exists=True)
