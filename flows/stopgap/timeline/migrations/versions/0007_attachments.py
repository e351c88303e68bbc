"""Make the table of the files that are kept with incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table. It may be there: an older backup, brought back into a newer database, takes the version back and leaves it."""
    op.create_table(
        "attachment",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        if_not_exists=True,
    )
