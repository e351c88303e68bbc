"""The timeline in PostgreSQL: `Timeline` on the tables, safe in threads, in many processes and on many machines.

An append locks the heads of its chains (in sorted order, SEALS last, so that no two appends wait for each other in a circle), looks for
winners of its keys, writes, and commits with synchronous_commit on. Somebody else's append to the same chain waits until then.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select as kernel
import time
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Select, event, exc, func, or_, select
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.dialects.postgresql import insert as upsert

from stopgap.clock import SystemClock
from stopgap.problems import LeaveRunError, StopgapError
from stopgap.timeline import chain, following, leases, rows, tables
from stopgap.timeline.deliveries import Deliveries
from stopgap.timeline.files import Files
from stopgap.timeline.intakestore import PostgresIntake
from stopgap.timeline.lockstore import PostgresLocks
from stopgap.timeline.memory import Memory, of_chain, of_run
from stopgap.timeline.proofstore import PostgresProofs
from stopgap.timeline.verify import Snapshot, Verdict, verify, verify_one
from stopgap.timeline.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import ColumnElement, Connection, Engine

    from stopgap.clock import Clock
    from stopgap.timeline.entry import Appended, Draft, Entry
    from stopgap.timeline.verify import Damage

_RESTED = 1.0  # seconds
_TRIES = 5  # of an append that lost a race for a key in another chain


class UnreadableError(StopgapError):
    """The timeline holds something that is not an entry."""


class TimelineUnreachableError(StopgapError):
    """The timeline's database did not answer. Its message says whether what was being written may be there."""


class RunUnreachableError(LeaveRunError):
    """The same for the process that carries a run out: it cannot go on with it."""


_UNREACHABLE = (TimelineUnreachableError, RunUnreachableError)


def create_engine(url: str) -> Engine:
    """Connect to a database: commits are durable when they return, whatever the server's default; times are UTC."""
    engine = sqlalchemy_engine(url, pool_size=5, max_overflow=20, connect_args={"connect_timeout": 10})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "checkin", _rest)
    event.listen(engine, "checkout", _wake)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        cursor.execute("SELECT set_config('TimeZone', 'UTC', false)")
    connection.commit()


def _rest(_connection: Any, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _wake(connection: Any, record: Any, _proxy: object) -> None:
    """Leave a connection that the server closed, as a restart does, and try one that rested. Trying each time would cost every append a round trip."""
    try:
        if _has_unread(connection):
            raise exc.DisconnectionError
        if time.monotonic() - record.info.get("since", time.monotonic()) > _RESTED:
            connection.execute("SELECT 1")
            connection.rollback()
    except psycopg.Error as error:
        raise exc.DisconnectionError from error


def _has_unread(connection: Any) -> bool:
    """Whether a connection that nobody uses has something to say: its last words, or its end. Asks the kernel alone."""
    asked = kernel.poll()
    asked.register(connection.fileno(), kernel.POLLIN)
    return bool(asked.poll(0))


class PostgresTimeline:
    """`Timeline` in a migrated database. One per process: after a fork it drops the connections it inherited and makes its own."""

    def __init__(self, engine: Engine, *, key: bytes, clock: Clock | None = None, fence: tuple[str, str] | None = None) -> None:
        self.engine = engine
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")  # for statements that need no transaction around them
        self._key = key
        self._clock = clock or SystemClock()
        self._process = os.getpid()
        self._fence = fence
        self._memory = Memory(self._read) if fence else None
        self.locks = PostgresLocks(self._connected, self._clock)
        self.proofs = PostgresProofs(self._connected)
        self.leases = leases.Leases(self._connected)
        self.deliveries = Deliveries(self._connected)
        self.intake = PostgresIntake(self._connected)
        self.files = Files(self._connected)

    def under(self, run: str, holder: str) -> PostgresTimeline:
        """Return this timeline for the process that carries a run out: when its lease is another's, an append raises TakenOverError.

        A database that does not answer is a RunUnreachableError there. It reads again only what is new: see `Memory`.
        """
        return PostgresTimeline(self.engine, key=self._key, clock=self._clock, fence=(run, holder))

    def append(self, draft: Draft) -> Appended:
        """Append, or return the entry that already has this key."""
        return self.append_all([draft])[0]

    def append_all(self, drafts: Sequence[Draft]) -> tuple[Appended, ...]:
        """Append several in one transaction, in order."""
        cleaned = [chain.clean(draft) for draft in drafts]
        for attempt in itertools.count(1):
            written: list[Entry] = []
            try:
                with self._connected() as connection:
                    done = Writing(connection, key=self._key, now=self._clock.now(), written=written).write(cleaned)
                    if self._fence:
                        leases.require(connection, *self._fence)
            except exc.IntegrityError:  # another chain took one of our keys meanwhile: look again, and read the winner
                if attempt == _TRIES:
                    raise
                continue
            except _UNREACHABLE as error:
                if not written and attempt == 1 and _was_cut(error):
                    continue  # the server had been restarted meanwhile; nothing was sent but a question
                if not (written and self._was_written(written[-1])):
                    raise
            if self._memory:
                self._memory.wrote(written)
                self._memory.lost({each.entry.chain for each in done if not each.won})
            self._tell(written)
            return done
        raise AssertionError  # pragma: no cover  the loop only ends above

    def find(self, key: str) -> Entry | None:
        """Return the entry with this key."""
        return next(iter(self._read(select(tables.entry).where(tables.entry.c.key == key))), None)

    def of_chain(self, chain: str, *, after: int = 0) -> tuple[Entry, ...]:
        """Return a chain's entries in order, those numbered above `after`."""
        if self._memory:
            return self._memory.of_chain(chain, after=after)
        return self._read(of_chain(chain, after=after))

    def of_run(self, run: str) -> tuple[Entry, ...]:
        """Return a run's entries in order."""
        if self._memory:
            return self._memory.of_run(run)
        return self._read(of_run(run))

    def of_kind(self, *kinds: str, since: datetime | None = None) -> tuple[Entry, ...]:
        """Return entries of these kinds over all chains, oldest first."""
        entry = tables.entry.c
        query = select(tables.entry).where(entry.kind.in_(kinds)).order_by(entry.at, entry.chain, entry.number)
        return self._read(query.where(entry.at >= since) if since else query)

    def chains(self, *, limit: int = 100) -> tuple[str, ...]:
        """Return the names of the chains of incidents and drills, the newest first."""
        head = tables.head.c
        query = select(head.chain).where(*_of_incidents()).order_by(head.opened.desc(), head.chain.desc()).limit(limit)
        with self._connected() as connection:
            return tuple(connection.scalars(query))

    def lengths(self, *chains: str, newest: int = 0) -> dict[str, int]:
        """Return how many entries these chains have, and so many of the newest incidents (drills apart), the newest first. In one question."""
        head = tables.head.c
        recent = (
            select(head.chain)
            .where(head.chain.startswith("INC-", autoescape=True))
            .order_by(head.opened.desc(), head.chain.desc())
            .limit(newest)
        )
        query = select(head.chain, head.number).where(or_(head.chain.in_(chains), head.chain.in_(recent)))
        with self._connected() as connection:
            return {row.chain: row.number for row in connection.execute(query.order_by(head.opened.desc(), head.chain.desc()))}

    def next_number(self, name: str) -> int:
        """Return the next number of a counter (`INC`, `DRILL`); gaps are possible, repeats are not."""
        query = upsert(tables.counter).values(name=name, value=1)
        query = query.on_conflict_do_update(index_elements=["name"], set_={"value": tables.counter.c.value + 1})
        with self._connected() as connection:
            return int(connection.execute(query.returning(tables.counter.c.value)).scalar_one())

    def token(self, purpose: str) -> str:
        """Return what nobody without the timeline's key can guess, the same each time: for a link that proves who was sent it."""
        return chain.token(purpose, self._key)

    def follow(self, chain: str, *, after: int = 0, timeout: timedelta | None = None) -> Iterator[Entry]:
        """Yield a chain's entries as they come; NOTIFY is a hint, a poll finds what it missed. Ends after `timeout` without one."""
        return following.follow(self, self.engine, chain, after=after, timeout=timeout)

    def seal(self) -> int:
        """Put the head of every chain that grew since it was last sealed into SEALS; return how many. For a sweeper, now and then."""
        head = tables.head.c
        grown = select(tables.head).where(head.chain != chain.SEALS, head.sealed < head.number)
        with self._connected() as connection:
            heads = [rows.head_of(row) for row in connection.execute(grown)]
            Writing(connection, key=self._key, now=self._clock.now()).seal(heads)
        return len(heads)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give everything as it stands at one moment, entries one after the other, for `verify`."""
        entry = tables.entry.c
        seals, others = (
            select(tables.entry).where(which).order_by(entry.chain, entry.number)
            for which in (entry.chain == chain.SEALS, entry.chain != chain.SEALS)
        )
        with self._connected(isolation="REPEATABLE READ") as connection:
            try:
                heads = {row.chain: rows.head_of(row) for row in connection.execute(select(tables.head))}
                sealed = tuple(map(rows.entry_of, connection.execute(seals)))
                with connection.execute(others, execution_options={"yield_per": 1000}) as found:
                    yield Snapshot(heads=heads, seals=sealed, entries=map(rows.entry_of, found))
            except (psycopg.DataError, exc.DataError, ValueError) as error:
                raise UnreadableError(f"An entry of the timeline was changed into something that cannot be read: {error}") from error

    def verify(self, *, since: str = "") -> Verdict:
        """Check every chain with the timeline's key; `since` is the end of an earlier verdict."""
        with self.snapshot() as snapshot:
            return verify(snapshot, key=self._key, since=since)

    def damage(self, name: str) -> Damage | None:
        """Return the first thing wrong with one chain as it stands now; None when its entries are what was written by somebody with the key."""
        entry, head = tables.entry.c, tables.head.c
        with self._connected(isolation="REPEATABLE READ") as connection:
            found = connection.execute(select(tables.head).where(head.chain == name)).one_or_none()
            entries = connection.execute(select(tables.entry).where(entry.chain == name).order_by(entry.number))
            return verify_one(name, rows.head_of(found) if found else None, map(rows.entry_of, entries), key=self._key)

    def recent(self, *, limit: int = 20) -> tuple[tuple[Entry, Entry], ...]:
        """Return the first and the last entry of each of the newest chains, the newest chain first."""
        head, first, last = tables.head, tables.entry.alias("first"), tables.entry.alias("last")
        query = (
            select(first.c.key, last.c.key)
            .join_from(head, first, (first.c.chain == head.c.chain) & (first.c.number == 1))
            .join(last, (last.c.chain == head.c.chain) & (last.c.number == head.c.number))
            .where(*_of_incidents())
            .order_by(head.c.opened.desc(), head.c.chain.desc())
            .limit(limit)
        )
        with self._connected() as connection:
            keys = [tuple(row) for row in connection.execute(query)]
        by_key = {entry.key: entry for entry in self._read(select(tables.entry).where(tables.entry.c.key.in_(itertools.chain(*keys))))}
        return tuple((by_key[one], by_key[other]) for one, other in keys)

    def _read(self, query: Select[Any]) -> tuple[Entry, ...]:
        """Read entries; once more when the connection was cut meanwhile, since reading twice is reading."""
        try:
            return self._read_once(query)
        except _UNREACHABLE as error:
            if not _was_cut(error):
                raise
            return self._read_once(query)

    def _read_once(self, query: Select[Any]) -> tuple[Entry, ...]:
        """Read in a statement of its own: a transaction around it would cost two round trips more."""
        self._mind_forks()
        try:
            with self._alone.connect() as connection:
                return tuple(map(rows.entry_of, connection.execute(query)))
        except (exc.OperationalError, exc.InterfaceError) as error:
            raise self._unreachable(unreachable(self.engine, error)) from error

    def _mind_forks(self) -> None:
        if os.getpid() != self._process:
            self.engine.dispose(close=False)
            self._process = os.getpid()

    @contextlib.contextmanager
    def _connected(self, *, isolation: str = "") -> Iterator[Connection]:
        """Open a transaction; what cannot be reached is said in a sentence."""
        self._mind_forks()
        try:
            with self.engine.connect() as connection:
                if isolation:
                    connection.execution_options(isolation_level=isolation)
                with connection.begin():
                    yield connection
        except (exc.OperationalError, exc.InterfaceError) as error:
            raise self._unreachable(unreachable(self.engine, error)) from error

    def _was_written(self, entry: Entry) -> bool:
        """After a connection was lost: whether the commit had gone through. Its hash names our entry and no other."""
        with contextlib.suppress(*_UNREACHABLE):
            found = self.find(entry.key)
            return found is not None and found.hash == entry.hash
        raise self._unreachable(
            f"The connection to the timeline's database was lost while an entry of {entry.chain} was being written; it may or may not be there.\n"
            f"Look when the database is back:  stopgap timeline show {entry.chain}"
        )

    def _unreachable(self, text: str) -> Exception:
        return RunUnreachableError(text) if self._fence else TimelineUnreachableError(text)

    def _tell(self, written: Sequence[Entry]) -> None:
        """NOTIFY after the commit and apart from it: inside, it would make the appends of all chains wait for each other."""
        names = {entry.chain for entry in written if not entry.chain.startswith((chain.SEALS, chain.RECEIVERS))}  # nobody follows those
        if names:
            with contextlib.suppress(exc.DBAPIError), self._alone.connect() as connection:
                for name in names:
                    connection.execute(select(func.pg_notify(following.CHANNEL, name)))


def _of_incidents() -> tuple[ColumnElement[bool], ...]:
    """Leave out the heads of chains that are apart."""
    name = tables.head.c.chain
    return name.not_in(chain.APART), ~name.startswith(chain.RECEIVERS, autoescape=True)


def _was_cut(error: Exception) -> bool:
    return isinstance(error.__cause__, exc.DBAPIError) and error.__cause__.connection_invalidated


def unreachable(engine: Engine, error: exc.DBAPIError) -> str:
    """Say in a sentence which database did not answer, and what its driver says; never with the password."""
    said = str(error.orig).strip().splitlines()
    return (
        f"The timeline's database {engine.url.render_as_string(hide_password=True)} cannot be reached or refused: {said[0] if said else type(error.orig).__name__}\n"
        "Nothing was written. Is PostgreSQL running, and is STOPGAP_DATABASE_URL right?"
    )
