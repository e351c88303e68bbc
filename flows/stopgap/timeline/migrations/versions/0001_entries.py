"""Make the timeline: entries that nothing changes, heads, counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0001"
down_revision = None

_WORDS = ("incident", "run", "step", "kind", "actor", "text", "key", "previous", "hash")

# A seat belt against mistakes, not a lock: the owner of a table can drop its triggers. The hashes find out who did.
_SEAT_BELT = (
    """CREATE FUNCTION entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'timeline entries are never changed or removed'; END $$""",
    "CREATE TRIGGER entry_stays BEFORE UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION entry_stays()",
    "CREATE TRIGGER entry_all_stay BEFORE TRUNCATE ON entry FOR EACH STATEMENT EXECUTE FUNCTION entry_stays()",
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "entry",
        sa.Column("chain", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", JSON, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False, unique=name == "key") for name in _WORDS),
    )
    op.create_index("entry_of_run", "entry", ["run", "at"], postgresql_where=sa.text("run <> ''"))
    op.create_index("entry_of_kind", "entry", ["kind", "at"])
    op.create_table(
        "head",
        sa.Column("chain", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mac", sa.Text, nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.BigInteger, nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True)),
    )
    op.create_index("head_opened", "head", ["opened", "chain"])
    op.create_table("counter", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Integer, nullable=False))
    op.create_table("signature", sa.Column("fingerprint", sa.Text, primary_key=True))
    for statement in _SEAT_BELT:
        op.execute(statement)
