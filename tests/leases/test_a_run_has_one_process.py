"""A run is carried out by one process at a time: others wait, take over what is lost, and whoever lost a run does nothing more."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_engine import carry_out, texts
from stopgap.actions.contract import PermanentError
from stopgap.actions.kubernetes import scale
from stopgap.clock import SystemClock
from stopgap.engine import lease
from stopgap.incidents.model import RunEnd
from stopgap.problems import StopgapError, UsageError
from stopgap.testing import ManualClock
from stopgap.timeline import leases
from stopgap.timeline.leases import TakenOverError, Terms
from stopgap.timeline.store import RunUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fixtures_engine import Bench
    from stopgap.actions.contract import Context
    from stopgap.engine.lease import Hold
    from stopgap.engine.work import Work
    from stopgap.timeline.postgres import Server
    from stopgap.timeline.store import PostgresTimeline

STEPS = """\
steps:
  - {id: scale, name: Add capacity, uses: kubernetes.scale, with: {deployment: checkout, replicas: 4}}
"""
TERMS = Terms(length=timedelta(seconds=10), longest_call=timedelta(seconds=30))
SECOND = timedelta(seconds=1)


def let_pass(timeline: PostgresTimeline, by: timedelta) -> None:
    """Make every lease older, as if the database's clock had gone on."""
    with timeline.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lease SET renewed = renewed - %(by)s, free = free - %(by)s", {"by": by})


def take(timeline: PostgresTimeline, holder: str) -> str:
    return timeline.leases.take("INC-1.1", holder, place=f"at {holder}", terms=TERMS)[1].holder


def test_a_lease_is_had_by_one_until_it_ran_out_and_the_longest_call_is_over(timeline: PostgresTimeline) -> None:
    assert take(timeline, "one") == "one"
    assert take(timeline, "two") == "one"
    let_pass(timeline, 38 * SECOND)
    assert take(timeline, "two") == "one"
    let_pass(timeline, 3 * SECOND)
    assert timeline.leases.of_all()["INC-1.1"].is_free
    assert take(timeline, "two") == "two"
    assert timeline.leases.of_all()["INC-1.1"].term == 2


def test_what_is_given_back_is_free_at_once(timeline: PostgresTimeline) -> None:
    take(timeline, "one")
    timeline.leases.give_back("another")
    assert take(timeline, "two") == "one"
    timeline.leases.give_back("one")
    assert take(timeline, "two") == "two"


def test_a_lease_that_ran_out_is_renewed_as_long_as_nobody_took_it(timeline: PostgresTimeline) -> None:
    take(timeline, "one")
    let_pass(timeline, timedelta(hours=1))
    assert timeline.leases.renew("INC-1.1", "one", terms=TERMS)
    assert take(timeline, "two") == "one"
    let_pass(timeline, timedelta(hours=1))
    take(timeline, "two")
    assert not timeline.leases.renew("INC-1.1", "one", terms=TERMS)


def test_of_many_who_see_a_lost_run_one_gets_it(timeline: PostgresTimeline) -> None:
    take(timeline, "the dead")
    let_pass(timeline, timedelta(minutes=1))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: take(timeline, str(number)), range(8)))
    assert len(set(found)) == 1


def test_a_database_clock_that_was_set_back_locks_no_run_for_long(timeline: PostgresTimeline) -> None:
    take(timeline, "one")
    let_pass(timeline, -timedelta(hours=1))
    assert not timeline.leases.of_all()["INC-1.1"].is_free
    let_pass(timeline, 41 * SECOND)
    assert timeline.leases.of_all()["INC-1.1"].is_free


def test_the_leases_of_ended_runs_are_removed(bench: Bench) -> None:
    work = bench.work(STEPS)
    with held(bench, work):
        bench.timeline.leases.prune()
        assert set(bench.timeline.leases.of_all()) == {work.id}
    assert carry_out(work) is RunEnd.DONE
    bench.timeline.leases.prune()
    assert bench.timeline.leases.of_all() == {}


def held(bench: Bench, work: Work) -> Any:
    return lease.held(bench.timeline, work.id, clock=SystemClock())


def under(work: Work, hold: Hold) -> Work:
    return replace(work, timeline=hold.timeline, hold=hold)


def test_a_run_that_a_living_process_has_is_left_to_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lease.LENGTH, "1s")
    work = bench.work(STEPS)
    with (
        held(bench, work),
        pytest.raises(TakenOverError, match=rf"^Another process \({lease.place()}\) carries {work.id} out; this one stops\.$"),
        held(bench, work),
    ):
        pass
    with held(bench, work):
        assert texts(work, "run.taken_over") == []


def test_a_run_whose_process_is_gone_is_taken_over_and_says_so(bench: Bench) -> None:
    work = bench.work(STEPS)
    bench.timeline.leases.take(work.id, "the dead", place="elsewhere, process 7", terms=TERMS)
    let_pass(bench.timeline, timedelta(minutes=1))
    with held(bench, work) as hold:
        assert carry_out(under(work, hold)) is RunEnd.DONE
    assert texts(work, "run.taken_over")[0].startswith(f"{work.id} goes on: elsewhere, process 7 carried it out and was last heard of at ")
    assert bench.replicas() == 4


def test_renewing_goes_on_while_an_action_blocks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lease.LENGTH, "1s")
    monkeypatch.setenv(lease.CALL, "1s")
    work = bench.work(STEPS)
    apply = scale.Scale.apply

    def slow(self: scale.Scale, context: Context, change: Any) -> Any:
        time.sleep(2.5)  # a call that blocks its thread
        assert bench.timeline.leases.take(work.id, "another", place="", terms=TERMS)[1].holder != "another"
        return apply(self, context, change)

    monkeypatch.setattr(scale.Scale, "apply", slow)
    with held(bench, work) as hold:
        assert carry_out(under(work, hold)) is RunEnd.DONE


@dataclass(slots=True)
class Robbed:
    """An action during which another process takes the run over, as after a long stop of this one."""

    bench: Bench
    run: str
    before_sending: bool

    def apply(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def apply(action: scale.Scale, context: Context, change: Any) -> Any:
            outcome = None if self.before_sending else original(action, context, change)
            with self.bench.timeline.engine.begin() as connection:
                connection.exec_driver_sql("UPDATE lease SET holder = 'another'")
            return original(action, context, change) if self.before_sending else outcome

        return apply


@pytest.mark.parametrize("before_sending", [True, False])
def test_a_process_that_lost_its_run_sends_nothing_and_writes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, before_sending: bool
) -> None:
    work = bench.work(STEPS)
    robbed = Robbed(bench, work.id, before_sending)
    monkeypatch.setattr(scale.Scale, "apply", robbed.apply(scale.Scale.apply))
    clock = ManualClock()
    with lease.held(bench.timeline, work.id, clock=clock) as hold:
        clock.advance(timedelta(minutes=1) if before_sending else timedelta(0))
        with pytest.raises(TakenOverError, match=rf"carries {work.id} out; this one stops"):
            carry_out(under(work, hold))
    assert [entry.kind for entry in work.entries()][-1] == "step.started"
    assert bench.replicas() == (3 if before_sending else 4)


@contextlib.contextmanager
def away(server: Server, timeline: PostgresTimeline) -> Iterator[None]:
    """The timeline's database takes no connections."""
    name = timeline.engine.url.database or ""
    with server.administrator() as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    try:
        yield
    finally:
        with server.administrator() as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_nothing_is_sent_when_the_lease_ran_out_and_the_database_is_away(bench: Bench, database_server: Server) -> None:
    work = bench.work(STEPS)
    clock = ManualClock()
    with lease.held(bench.timeline, work.id, clock=clock) as hold:
        assert hold.permit(20) == 20
        assert hold.permit(90) == 30  # no call is longer than the others wait for
        clock.advance(11 * SECOND)
        assert hold.permit(20) == 20  # it was renewed
        clock.advance(11 * SECOND)
        said = rf"^The lease of {work.id} ran out and could not be renewed \(.*\), so nothing was sent\.$"
        with away(database_server, bench.timeline), pytest.raises(RunUnreachableError, match=said):
            hold.permit(20)
        assert hold.permit(20) == 20


def test_a_database_that_is_away_ends_the_process_part_in_the_run_and_no_step(bench: Bench, database_server: Server) -> None:
    work = bench.work(STEPS)
    with lease.held(bench.timeline, work.id, clock=SystemClock()) as hold:
        mine, note = hold.timeline, work.run().draft("note", "It is away.")
        asked: list[Callable[[], object]] = [
            lambda: mine.append(note),
            lambda: mine.of_run(work.id),
            lambda: mine.find("no such key"),
            lambda: mine.of_kind("step.started"),
            mine.locks.of_all,
        ]
        with away(database_server, bench.timeline):
            for ask in asked:
                with pytest.raises(RunUnreachableError) as raised:
                    ask()
                assert not isinstance(raised.value, StopgapError)


def test_what_an_action_makes_of_it_that_nothing_may_be_sent_ends_no_step(
    bench: Bench, database_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, clock = bench.work(STEPS), ManualClock()

    def rude(_self: scale.Scale, context: Context, change: Any) -> Any:
        clock.advance(11 * SECOND)
        with away(database_server, bench.timeline):
            try:
                context.sending()
            except Exception as error:
                raise PermanentError(f"{change.summary} did not work.") from error

    monkeypatch.setattr(scale.Scale, "apply", rude)
    with lease.held(bench.timeline, work.id, clock=clock) as hold, pytest.raises(RunUnreachableError, match="so nothing was sent"):
        carry_out(under(work, hold))
    assert [entry.kind for entry in work.entries()][-1] == "step.started"


def test_a_lease_is_given_back_at_a_good_end_and_kept_after_an_error(bench: Bench) -> None:
    work = bench.work(STEPS)
    with held(bench, work):
        pass
    assert bench.timeline.leases.of_all()[work.id].is_free
    with pytest.raises(RuntimeError), held(bench, work):
        raise RuntimeError
    assert not bench.timeline.leases.of_all()[work.id].is_free


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("soon", 'STOPGAP_LEASE: "soon" is not a duration; write a number with d, h, m or s, like 90s, 15m or 2h30m'),
        ("0.2s", "STOPGAP_LEASE is 0.2s; the shortest is 1s."),
    ],
)
def test_terms_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    monkeypatch.setenv(lease.LENGTH, value)
    with pytest.raises(UsageError) as caught:
        lease.terms()
    assert str(caught.value) == message


def test_the_thread_that_renews_ends_with_the_hold(bench: Bench) -> None:
    work = bench.work(STEPS)
    with held(bench, work):
        assert "lease" in {thread.name for thread in threading.enumerate()}
    assert "lease" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a timer")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_that_is_not_wound_up_is_killed_even_while_it_is_stopped(*, stopped: bool) -> None:
    code = "from stopgap.engine.deadman import Deadman; import time; Deadman().wind_up(0.3); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        if stopped:
            os.kill(process.pid, signal.SIGSTOP)
        assert process.wait(20) == -signal.SIGKILL


def test_a_process_that_is_wound_up_in_time_lives() -> None:
    code = "from stopgap.engine.deadman import Deadman; import time; d = Deadman(); [(d.wind_up(0.5), time.sleep(0.2)) for _ in 'abcd']; d.stop(); time.sleep(0.6)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0


def test_the_fence_looks_at_the_very_transaction(timeline: PostgresTimeline) -> None:
    take(timeline, "one")
    with timeline.engine.begin() as connection:
        leases.require(connection, "INC-1.1", "one")
        with pytest.raises(TakenOverError, match=r"^Another process carries INC-1\.1 out; this one stops, and wrote nothing more\.$"):
            leases.require(connection, "INC-1.1", "two")
