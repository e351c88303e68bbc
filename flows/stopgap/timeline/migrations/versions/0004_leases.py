"""Make the table of leases: which process carries a run out."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table. It may be there: an older backup, brought back into a newer database, takes the version back and leaves it."""
    op.create_table(
        "lease",
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
        sa.Column("renewed", sa.DateTime(timezone=True), nullable=False),
        sa.Column("free", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
