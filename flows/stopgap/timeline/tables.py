"""The tables, as SQLAlchemy Core sees them. Migrations make them; a test keeps the two equal."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSON

metadata = MetaData()

# JSON and not JSONB: what is hashed must be read back as it was written, and JSONB writes numbers its own way (1e22).
entry = Table(
    "entry",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("incident", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
Index("entry_of_run", entry.c.run, entry.c.at, postgresql_where=entry.c.run != "")
Index("entry_of_kind", entry.c.kind, entry.c.at)

head = Table(
    "head",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("mac", Text, nullable=False),
    Column("opened", DateTime(timezone=True), nullable=False),
    Column("sealed", BigInteger, nullable=False),
    Column("sealed_at", DateTime(timezone=True)),
)
Index("head_opened", head.c.opened, head.c.chain)

counter = Table(
    "counter",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
)

# Which run works on which target, or waits for it; who ended on the timeline holds nothing, whatever stands here.
lock = Table(
    "lock",
    metadata,
    Column("target", Text, primary_key=True),
    Column("run", Text, primary_key=True),
    Column("is_held", Boolean, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)
Index("lock_held", lock.c.target, unique=True, postgresql_where=lock.c.is_held)

# Which process carries a run out, all moments by the database's clock. `free`: from then on others may take it.
lease = Table(
    "lease",
    metadata,
    Column("run", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("term", Integer, nullable=False),
    Column("renewed", DateTime(timezone=True), nullable=False),
    Column("free", DateTime(timezone=True), nullable=False),
)

# One row: which key the timeline is written with, without giving it away.
signature = Table("signature", metadata, Column("fingerprint", Text, primary_key=True))

# The secrets of one-time codes, sealed with a key outside the database. Who is enrolled says the chain RESPONDERS; a row alone enrols nobody.
responder = Table(
    "responder",
    metadata,
    Column("enrolment", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

# A code is good once: `counter` is its number (RFC 6238), `attempt` the answer that it was used for.
used_code = Table(
    "used_code",
    metadata,
    Column("enrolment", Text, primary_key=True),
    Column("counter", BigInteger, primary_key=True),
    Column("attempt", Text, nullable=False, unique=True),
    Column("at", DateTime(timezone=True), nullable=False),
)

# Wrong codes of the last hours, to slow guessing down.
wrong_code = Table(
    "wrong_code",
    metadata,
    Column("attempt", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
Index("wrong_code_of", wrong_code.c.person, wrong_code.c.channel, wrong_code.c.at)

# How far each receiver's chain has been acted on.
intake = Table(
    "intake",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# The newest episode of each alert. What happened in it is on the timeline; here is what every delivery must find at once.
episode = Table(
    "episode",
    metadata,
    Column("source", Text, primary_key=True),
    Column("alert", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("incident", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("started", DateTime(timezone=True)),
    Column("ended", DateTime(timezone=True)),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("deliveries", BigInteger, nullable=False),
)
Index("episode_of_incident", episode.c.incident)

# A notice on its way to one target: how often it was tried, and from when on it may be tried again. While it is sent, that is its lease.
delivery = Table(
    "delivery",
    metadata,
    Column("notice", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("due", DateTime(timezone=True), nullable=False),
)

# The files kept with incidents, by their SHA-256; that one was kept, by whom and under which name, says the timeline.
attachment = Table(
    "attachment",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
