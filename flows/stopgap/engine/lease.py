"""One process's hold on the run it carries out: a lease that a thread of its own renews, and that everything it sends or writes is held to.

Four ropes, each for what the others cannot hold. Nothing is sent that a good lease does not cover. No entry is written once the lease is
another's. A process that finds it so ends itself. And one that cannot even look is ended by the kernel before others may take the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.actions.contract import LONGEST_CALL
from stopgap.clock import parse_duration
from stopgap.engine import journal
from stopgap.engine.deadman import Deadman
from stopgap.problems import LeaveRunError, StopgapError, UsageError
from stopgap.timeline.leases import TakenOverError, Terms
from stopgap.timeline.store import RunUnreachableError, TimelineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.clock import Clock
    from stopgap.timeline.leases import Lease
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.engine")
LENGTH = "STOPGAP_LEASE"  # environment: how long a lease is good without being renewed
CALL = "STOPGAP_LONGEST_CALL"  # environment: how long one call that may change something may take
SHORTEST = timedelta(seconds=1)
_USUAL = timedelta(seconds=10)
_MARGIN = 0.5  # seconds between the end of a process whose lease ran out and the moment from which others may take the run
_LOOK_EVERY = 0.1  # seconds, while another process has the run


class _Process:
    """What this process is called as a holder, and whether it is there for one run alone and may be ended with it."""

    holder = ""
    deadman: Deadman | None = None


def devote(holder: str) -> None:
    """Say that this process carries out one run, under a name that its worker knows, and may be killed when it loses it."""
    _Process.holder = holder
    _Process.deadman = Deadman()


def terms() -> Terms:
    """Return the terms that hold here; UsageError when the environment says nonsense."""
    return Terms(length=_duration(LENGTH, _USUAL), longest_call=_duration(CALL, LONGEST_CALL))


@contextlib.contextmanager
def held(timeline: PostgresTimeline, run: str, *, clock: Clock) -> Iterator[Hold]:
    """Have a run to oneself. TakenOverError at once when a living process has it; of one that seems dead the lease's end is waited for.

    It is given back at a good end. After an error it is not: something may still be under way in a thread.
    """
    hold = Hold(timeline, run, clock=clock)
    hold.take()
    try:
        yield hold
    except (Exception, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        hold.stop()
        raise
    except BaseException:  # suspended: Prefect's Pause is no Exception
        hold.give_back()
        raise
    else:
        hold.give_back()


class Hold:
    """A lease of this process. Safe in threads."""

    def __init__(self, timeline: PostgresTimeline, run: str, *, clock: Clock) -> None:
        self._leases = timeline.leases
        self._run = run
        self._clock = clock
        self._terms = terms()
        self._holder = _Process.holder or secrets.token_hex(8)
        self._good_until = 0.0
        self._is_lost = False
        self._stopped = threading.Event()
        self._renewing = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.timeline = timeline.under(run, self._holder)
        self.refusal: LeaveRunError | None = None  # why something was not permitted to be sent

    def take(self) -> None:
        """Take the lease and begin to renew it."""
        before, after = self._await()
        if before.holder not in {"", self._holder}:
            self._say_so(before, after)
        self._thread.start()

    def permit(self, wanted: float) -> float:
        """Return how long a call may take that leaves now. RunUnreachableError when the lease ran out and cannot be renewed: nothing may be sent."""
        longest = self._terms.longest_call.total_seconds()
        try:
            if self._clock.monotonic() >= self._good_until:
                self._renew_or_refuse()
            if self._is_lost:
                raise self._taken_over()
        except LeaveRunError as error:
            self.refusal = error
            raise
        return min(wanted, longest)

    def stop(self) -> None:
        """Renew it no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_MARGIN)  # a database that is away may hold it longer; then it ends by itself
        self._good_until = 0.0
        if _Process.deadman:
            _Process.deadman.stop()

    def give_back(self) -> None:
        """Let others have the run at once; when the database is away, it runs out."""
        self.stop()
        with contextlib.suppress(StopgapError):
            self._leases.give_back(self._holder)

    def _await(self) -> tuple[Lease, Lease]:
        first: Lease | None = None
        while True:
            asked = self._clock.monotonic()
            before, after = self._leases.take(self._run, self._holder, place=place(), terms=self._terms)
            if after.holder == self._holder:
                self._is_good_from(asked)
                return before, after
            first = first or before
            if (before.term, before.renewed) != (first.term, first.renewed):
                raise self._taken_over(before.place)
            self._clock.sleep(_LOOK_EVERY)

    def _keep(self) -> None:
        """Renew it until told to stop. A database that is away is asked again and again: it may be back in time."""
        every = self._terms.length.total_seconds() / 3
        pause = every
        while not self._stopped.wait(pause):
            try:
                self._renew()
                pause = every
            except StopgapError as error:
                pause = every / 4
                LOG.warning("the lease of %s could not be renewed: %s", self._run, str(error).splitlines()[0])
            if self._is_lost and not self._stopped.is_set():
                self._end()
                return

    def _renew(self) -> None:
        with self._renewing:
            asked = self._clock.monotonic()
            if self._leases.renew(self._run, self._holder, terms=self._terms):
                self._is_good_from(asked)
            else:
                self._is_lost = True

    def _renew_or_refuse(self) -> None:
        try:
            self._renew()
        except TimelineUnreachableError as error:
            raise RunUnreachableError(
                f"The lease of {self._run} ran out and could not be renewed ({str(error).splitlines()[0]}), so nothing was sent."
            ) from error

    def _is_good_from(self, asked: float) -> None:
        """The database renewed it after it was asked, so by our own clock it is good at least this long."""
        length = self._terms.length.total_seconds()
        self._good_until = asked + length
        if _Process.deadman and not self._stopped.is_set():
            left = asked + length + self._terms.longest_call.total_seconds() - _MARGIN - self._clock.monotonic()
            _Process.deadman.wind_up(left)

    def _end(self) -> None:
        LOG.warning("%s", self._taken_over())
        if _Process.deadman:
            os._exit(TAKEN_OVER)

    def _taken_over(self, by: str = "") -> TakenOverError:
        return TakenOverError(f"Another process{f' ({by})' if by else ''} carries {self._run} out; this one stops.")

    def _say_so(self, before: Lease, after: Lease) -> None:
        journal.taken_over(self.timeline, self._run, before, after)


TAKEN_OVER = 75  # exit code of a process whose run another one carries out


def place() -> str:
    """Say to people where this process is."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def _duration(name: str, usual: timedelta) -> timedelta:
    text = os.environ.get(name)
    if not text:
        return usual
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    if found < SHORTEST:
        raise UsageError(f"{name} is {text}; the shortest is {SHORTEST.seconds}s.")
    return found
