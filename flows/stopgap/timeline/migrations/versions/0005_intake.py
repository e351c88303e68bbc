"""Make the tables of alert intake: how far each receiver's chain has been acted on, and the newest episode of each alert."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables. They may be there: an older backup, brought back into a newer database, takes the version back and leaves them."""
    op.create_table(
        "intake",
        sa.Column("chain", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "episode",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("alert", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("deliveries", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("episode_of_incident", "episode", ["incident"], if_not_exists=True)
