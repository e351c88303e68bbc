"""Make the tables of one-time codes: sealed secrets, codes that were used, wrong codes of late."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables. They may be there: an older backup, brought back into a newer database, takes the version back and leaves them."""
    op.create_table(
        "responder",
        sa.Column("enrolment", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "used_code",
        sa.Column("enrolment", sa.Text, primary_key=True),
        sa.Column("counter", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Text, nullable=False, unique=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "wrong_code",
        sa.Column("attempt", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_index("wrong_code_of", "wrong_code", ["person", "channel", "at"], if_not_exists=True)
