"""Fakes for people who write actions and runbooks, and for our own tests. Nothing shipped imports this."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from stopgap.approvals import decide
from stopgap.approvals.model import Attempt
from stopgap.engine import run as runs
from stopgap.plan import nested
from stopgap.timeline import chain, following
from stopgap.timeline import locks as locking
from stopgap.timeline.entry import Appended, Draft, Entry
from stopgap.timeline.locks import Lock
from stopgap.timeline.verify import Snapshot, Verdict, verify, verify_one

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from stopgap.approvals.model import Answer, Gate
    from stopgap.clock import Clock
    from stopgap.engine.stage import Part
    from stopgap.engine.work import Work
    from stopgap.incidents.model import Run
    from stopgap.timeline.proofs import Turn
    from stopgap.timeline.verify import Damage

    Answering = tuple[str, Answer] | Callable[[Gate], tuple[str, Answer]]

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is told to go on; `sleep` moves it and returns at once."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the moment it shows."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Return the seconds it has been moved."""
        return self._passed.total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move on."""
        with self._lock:
            self._passed += by

    def set_back(self, by: timedelta) -> None:
        """Go wrong as machines' clocks do: `now` jumps back, `monotonic` does not."""
        self._start -= by


class MemoryTimeline:
    """The timeline in memory: passes the tests of the one in PostgreSQL, and is gone with the process. Safe in threads."""

    def __init__(self, *, clock: Clock | None = None, key: bytes = b"a key for tests only") -> None:
        self._clock = clock or ManualClock()
        self._key = key
        self._changed = threading.Condition(threading.RLock())
        self._entries: dict[str, list[Entry]] = {}
        self._heads: dict[str, chain.Head] = {}
        self._by_key: dict[str, Entry] = {}
        self._counters: Counter[str] = Counter()
        self.locks = MemoryLocks(self)
        self.proofs = MemoryProofs()

    def append(self, draft: Draft) -> Appended:
        """Append, or return the entry that already has this key."""
        return self.append_all([draft])[0]

    def append_all(self, drafts: Sequence[Draft]) -> tuple[Appended, ...]:
        """Append several, in order."""
        cleaned = [chain.clean(draft) for draft in drafts]
        with self._changed:
            done = tuple(map(self._append, cleaned))
            self._changed.notify_all()
        return done

    def now(self) -> datetime:
        """Return the moment at which an entry would be written."""
        return self._clock.now()

    def find(self, key: str) -> Entry | None:
        """Return the entry with this key."""
        return self._by_key.get(key)

    def of_chain(self, chain: str, *, after: int = 0) -> tuple[Entry, ...]:
        """Return a chain's entries in order, those numbered above `after`."""
        with self._changed:
            return tuple(self._entries.get(chain, ())[after:])

    def of_run(self, run: str) -> tuple[Entry, ...]:
        """Return a run's entries in order."""
        return tuple(entry for entry in self._all() if run and entry.run == run)

    def of_kind(self, *kinds: str, since: datetime | None = None) -> tuple[Entry, ...]:
        """Return entries of these kinds over all chains, oldest first."""
        return tuple(entry for entry in self._all() if entry.kind in kinds and (since is None or entry.at >= since))

    def chains(self, *, limit: int = 100) -> tuple[str, ...]:
        """Return the names of the chains of incidents and drills, the newest first."""
        with self._changed:
            heads = sorted(self._heads.values(), key=lambda head: (head.opened, head.chain), reverse=True)
        return tuple(head.chain for head in heads if not chain.is_apart(head.chain))[:limit]

    def next_number(self, name: str) -> int:
        """Return the next number of a counter."""
        with self._changed:
            self._counters[name] += 1
            return self._counters[name]

    def token(self, purpose: str) -> str:
        """Return what nobody without the key can guess, the same each time."""
        return chain.token(purpose, self._key)

    def follow(self, chain: str, *, after: int = 0, timeout: timedelta | None = None) -> Iterator[Entry]:
        """Yield a chain's entries as they come. Ends after `timeout` (of real time) without one."""

        def read(number: int) -> tuple[Entry, ...]:
            return self.of_chain(chain, after=number)

        def wait(seconds: float) -> None:
            with self._changed:
                self._changed.wait(min(seconds, 0.05))

        return following.entries(read, wait, after=after, timeout=timeout)

    def verify(self, *, since: str = "") -> Verdict:
        """Check every chain."""
        with self._changed:
            chains = sorted(name for name in self._entries if name != chain.SEALS)
            snapshot = Snapshot(
                heads=dict(self._heads),
                seals=tuple(self._entries.get(chain.SEALS, ())),
                entries=iter([entry for name in chains for entry in self._entries[name]]),
            )
        return verify(snapshot, key=self._key, since=since)

    def damage(self, name: str) -> Damage | None:
        """Return the first thing wrong with one chain."""
        with self._changed:
            return verify_one(name, self._heads.get(name), self._entries.get(name, ()), key=self._key)

    def _append(self, draft: Draft) -> Appended:
        if draft.key in self._by_key:
            return Appended(self._by_key[draft.key], won=False)
        head = self._heads.get(draft.chain)
        entry = chain.link(draft, head=head, at=self._clock.now(), key=self._key)
        self._heads[draft.chain] = chain.head_of(entry, before=head, key=self._key)
        self._entries.setdefault(draft.chain, []).append(entry)
        self._by_key[entry.key] = entry
        if head is None and draft.chain != chain.SEALS:
            self._append(chain.clean(chain.seal(self._heads[draft.chain])))
        return Appended(entry, won=True)

    def _all(self) -> list[Entry]:
        with self._changed:
            entries = [entry for entries in self._entries.values() for entry in entries]
        return sorted(entries, key=lambda entry: (entry.at, entry.chain, entry.number))


class MemoryLocks:
    """The locks of a `MemoryTimeline`."""

    def __init__(self, timeline: MemoryTimeline) -> None:
        self._timeline = timeline
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], Lock] = {}
        self._counting = threading.Lock()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only one who counts what begins."""
        with self._counting:
            yield

    def take(self, run: str, targets: Collection[str]) -> tuple[Lock, ...]:
        """Take all of these targets or none. Returns what stands in the way, empty when they are ours."""
        with self._lock:
            blocked = locking.in_the_way(self._open(), run, targets)
            if not blocked:
                self._drop(lambda lock: lock.run == run, keep_held=True)
            for target in sorted(targets):
                new = Lock(target=target, run=run, since=self._timeline.now(), is_held=not blocked)
                self._rows.setdefault((target, run), new)
        return blocked

    def forget(self, run: str) -> None:
        """The run waits for nothing any more; what it holds stays."""
        with self._lock:
            self._drop(lambda lock: lock.run == run, keep_held=True)

    def release(self, run: str, targets: Collection[str]) -> None:
        """Give back what this run holds of these targets."""
        with self._lock:
            self._drop(lambda lock: lock.run == run and lock.target in targets and lock.is_held)

    def of_all(self) -> tuple[Lock, ...]:
        """Return every lock and every wait, by target, the holder first."""
        with self._lock:
            return locking.ordered(self._open())

    def _open(self) -> list[Lock]:
        self._drop(lambda lock: self._timeline.find(f"run.finished/{lock.run}") is not None)
        return list(self._rows.values())

    def _drop(self, which: Callable[[Lock], bool], *, keep_held: bool = False) -> None:
        self._rows = {key: lock for key, lock in self._rows.items() if (keep_held and lock.is_held) or not which(lock)}


class MemoryProofs:
    """The rows of one-time codes, in memory. A turn is one for everybody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sealed: dict[str, bytes] = {}
        self._used: dict[tuple[str, int], str] = {}
        self._wrong: dict[str, tuple[str, str, datetime]] = {}

    def keep(self, enrolment: str, sealed: bytes) -> None:
        """Keep the sealed secret of an enrolment."""
        self._sealed[enrolment] = sealed

    def sealed(self, enrolment: str) -> bytes | None:
        """Return the sealed secret of an enrolment."""
        return self._sealed.get(enrolment)

    def forget(self, enrolment: str) -> None:
        """Remove the secret of an enrolment."""
        self._sealed.pop(enrolment, None)

    @contextlib.contextmanager
    def turn(self, person: str) -> Iterator[Turn]:
        """Check a code, one at a time."""
        with self._lock:
            yield _MemoryTurn(person, self._used, self._wrong)


class _MemoryTurn:
    def __init__(self, person: str, used: dict[tuple[str, int], str], wrong: dict[str, tuple[str, str, datetime]]) -> None:
        self._person, self._used, self._wrong = person, used, wrong

    def was_used_for(self, attempt: str) -> bool:
        return attempt in self._used.values()

    def use(self, enrolment: str, counter: int, *, attempt: str, at: datetime) -> bool:  # noqa: ARG002  the twin forgets when
        return self._used.setdefault((enrolment, counter), attempt) == attempt

    def wrong(self, channel: str, *, since: datetime) -> tuple[datetime, ...]:
        return tuple(sorted(at for person, by, at in self._wrong.values() if (person, by) == (self._person, channel) and at > since))

    def note_wrong(self, channel: str, *, attempt: str, at: datetime) -> None:
        self._wrong.setdefault(attempt, (self._person, channel, at))


class ScriptedStage:
    """A stage without Prefect: people answer as the test says, work is done in place. A gate without an answer raises `StillWaiting`.

    `answers` maps a step's id to (person, answer), or to a function that is given the gate and returns that; taken once each.
    """

    class StillWaiting(Exception):  # noqa: N818  as Prefect's Pause: no error, the run left the process
        """The run waits for people."""

    def __init__(self, work: Work, answers: Mapping[str, Answering] | None = None) -> None:
        self.work = work
        self.answers = dict(answers or {})
        self.shown: list[str] = []

    async def wait(self, part: Part, gate: Gate) -> Gate:  # noqa: ARG002  the stage's signature
        """Let the scripted person answer, by the one function that decides."""
        gate = decide.settle(self.work.timeline, self.work.clock, run=self.work.run(), gate=gate)
        while gate.is_open:
            if gate.step not in self.answers:
                raise self.StillWaiting(gate.step)
            found = self.answers.pop(gate.step)
            person, answer = found(gate) if callable(found) else found
            attempt = Attempt(
                id=f"test/{uuid.uuid4().hex}", person=person, answer=str(answer), digest=gate.digest, reason="", channel="test"
            )
            verdict = decide.decide(self.work.timeline, self.work.policy, self.work.clock, run=self.work.run(), attempt=attempt)
            gate = verdict.gate or gate
        return gate

    async def begin_run(self, run: Run) -> None:
        """Carry the other run out in place, with the same people."""
        if run.end is None:
            runbook = nested.find(self.work.runbook, run.runbook)
            stage = copy.copy(self)
            stage.work = replace(self.work, id=run.id, runbook=runbook, mode=run.mode, parameters=run.parameters, hold=None)
            await runs.carry_out(stage.work, stage)

    async def rest(self, pause: timedelta, *, why: str, state: str = "") -> None:  # noqa: ARG002  the stage's signature
        """Wait by the work's clock."""
        await asyncio.to_thread(self.work.clock.sleep, pause.total_seconds())

    async def show(self, part: Part, body: Callable[[], None]) -> None:
        """Do the work in a thread, as Prefect's stage does, and note that it was shown."""
        self.shown.append(part.step.id)
        await asyncio.to_thread(body)

    async def tell(self) -> None:
        """Nobody looks."""
