"""Make the table of notices that are on their way to somebody."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table. It may be there: an older backup, brought back into a newer database, takes the version back and leaves it."""
    op.create_table(
        "delivery",
        sa.Column("notice", sa.Text, primary_key=True),
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
