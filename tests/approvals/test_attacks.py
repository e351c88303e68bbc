"""Every way around the gate that we know, on a real Prefect server with a worker: refused in its own sentence, on the timeline, without effect."""

from __future__ import annotations

import functools
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from fixtures_arena import SECRET_KEY, Arena, Someone, Target, until
from fixtures_timeline import KEY
from stopgap.approvals import codes
from stopgap.incidents.model import RunEnd

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from stopgap.engine.server import PrefectServer
    from stopgap.timeline.postgres import Server

pytestmark = pytest.mark.timeout(900)  # the first test starts Prefect, a worker and all the runs
GUESSES = 1000
RUNS = {
    "empty": "ask-one", "wrong-code": "ask-one", "other-name": "ask-one", "replay-a": "ask-one", "replay-b": "ask-one",
    "running": "ask-one", "bulk-a": "ask-one", "bulk-b": "ask-one", "forged": "ask-one", "garbage": "ask-one", "jinja": "ask-one",
    "drift": "ask-one", "ended": "ask-one", "soon": "ask-soon", "starter": "ask-one", "demoted": "ask-others", "at-once": "ask-two",
    "twice": "ask-two", "away": "ask-one", "guessed": "ask-one", "traces": "ask-one",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _waiting_runs(arena: Arena) -> None:
    """Every run of the file is started at once, and waits."""
    for name, runbook in RUNS.items():
        arena.start(runbook, name=name, starter="p00" if name == "starter" else "p58")
    arena.someone()  # p00
    for name in RUNS:
        if name != "soon":
            until(arena.targets[name].is_paused)


@pytest.fixture(scope="module", autouse=True)
def guessed(arena: Arena, _waiting_runs: None) -> Someone:
    """Whose code is being guessed, all the while the other tests go on."""
    someone, target = arena.someone(), arena.targets["guessed"]
    guesses = [target.fields(someone, code=someone.wrong(), reason=str(number)) for number in range(GUESSES)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(target.forge, guesses))
    target.set_state("SCHEDULED")
    return someone


@pytest.fixture
def target(arena: Arena, request: pytest.FixtureRequest) -> Iterator[Target]:
    """The run that the test is about. Whatever was tried, its Deployment is as it was, and its question is still open."""
    found = arena.targets[request.param]
    yield found
    assert found.effects() == []
    assert found.run().end is None
    until(found.is_paused)


def on(name: str) -> pytest.MarkDecorator:
    """Try it on this run."""
    return pytest.mark.parametrize("target", [name], indirect=True)


def wrong_code_of(person: str) -> str:
    wrong = f"The one-time code is not the one of {person} at that moment. Is the telephone's clock right?"
    return f"Refused an answer of {person} by Prefect form: {wrong}"


def out(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    return said


@on("empty")
def test_an_empty_resume_is_refused_by_prefect_itself(target: Target, arena: Arena) -> None:
    someone = arena.someone()
    for body in (None, {}, {"decision": "approve"}, target.fields(someone, change=""), target.fields(someone, code="12345")):
        assert target.submit(body)["status"] == "REJECT"
    assert target.is_paused()


@on("wrong-code")
def test_all_fields_but_a_wrong_code_are_refused(target: Target, arena: Arena) -> None:
    someone = arena.someone()
    assert target.submit(target.fields(someone, code=someone.wrong()))["status"] == "ACCEPT"
    assert target.refused() == [wrong_code_of(someone.id)]


@on("other-name")
def test_my_code_under_somebody_elses_name_is_refused(target: Target, arena: Arena) -> None:
    me, other = arena.someone(), arena.someone()
    assert target.submit(target.fields(me, name=other.id))["status"] == "ACCEPT"
    assert target.refused() == [wrong_code_of(other.id)]


def test_one_code_from_two_processes_counts_once(arena: Arena) -> None:
    someone = arena.someone()
    code, targets = someone.code(), [arena.targets["replay-a"], arena.targets["replay-b"]]
    said = [out(each) for each in [arena.decide(target, someone, code=code) for target in targets]]
    used = f"This one-time code of {someone.id} was used before, and each counts once. Wait for the next one."
    (winner,) = (
        target for target, words in zip(targets, said, strict=True) if f"{someone.id} (incident-commander) approved scale" in words
    )
    (loser,) = (target for target, words in zip(targets, said, strict=True) if used in words)
    assert loser.said("gate.refused") == [f"Refused an answer of {someone.id} by terminal: {used}"]
    until(lambda: winner.run().end is RunEnd.DONE)
    assert (len(winner.effects()), loser.effects()) == (1, [])


WOKEN = "Add capacity: the run was woken without an answer, and asks again; a restart does that, or somebody in Prefect"


@on("running")
def test_a_run_set_running_by_hand_asks_again(target: Target) -> None:
    target.set_state("RUNNING")
    until(functools.partial(asks_again, target))


def asks_again(target: Target) -> bool:
    return target.said("step.note") == [WOKEN] and target.is_paused()


def test_runs_set_going_in_bulk_ask_again(arena: Arena) -> None:
    targets = [arena.targets[name] for name in ("bulk-a", "bulk-b")]
    body = {
        "flow_runs": {"id": {"any_": [target.flow_run for target in targets]}},
        "state": {"type": "SCHEDULED", "name": "Resuming"},
        "force": True,
    }
    arena.prefect.post("/flow_runs/bulk_set_state", json=body).raise_for_status()
    for target in targets:
        until(functools.partial(asks_again, target))
        assert target.effects() == []


@on("forged")
def test_a_forged_response_is_refused(target: Target, arena: Arena) -> None:
    someone = arena.someone()
    target.forge(target.fields(someone, code=someone.wrong()))
    stranger = {**target.fields(someone), "name": "mallory"}
    target.forge(stranger)
    target.set_state("SCHEDULED")
    mallory = 'Refused an answer of mallory by Prefect form: Policy knows nobody called "mallory".'
    assert target.refused(2) == [wrong_code_of(someone.id), mallory]


@on("garbage")
def test_garbage_in_place_of_an_answer_is_refused_and_hides_no_right_one(target: Target, arena: Arena) -> None:
    someone = arena.someone()
    digest = target.gate().digest
    junk: list[Any] = [
        None,
        1,
        [],
        "approve",
        {"name": {"a": 1}, "code": ["1"], "change": digest},
        {"name": "\x00\ud800", "change": digest},
    ]
    junk += [{"reason": "x" * 100_000, "change": digest, "decision": "approve", "name": someone.id}, [[[[]]]] * 50]
    for each in junk:
        target.forge(each)
    target.set_state("SCHEDULED")
    assert len(target.refused(len(junk))) == len(junk)
    assert max(map(len, target.said("gate.refused"))) < 500
    assert target.submit(target.fields(someone, decision="approve", code=someone.wrong()))["status"] in {"ACCEPT", "ABORT"}


@on("jinja")
def test_a_template_in_the_form_is_judged_by_what_it_becomes(target: Target, arena: Arena) -> None:
    someone = arena.someone()

    def jinja(text: str) -> dict[str, str]:
        return {"__prefect_kind": "jinja", "template": text}

    fields = target.fields(someone, name=jinja("{{ 'p' ~ '57' }}"), code=jinja("{{ 100000 + 23456 }}"), decision=jinja("approve"))
    assert target.submit(fields)["status"] == "ACCEPT"
    not_enrolled = "p57 is not enrolled for one-time codes, so nothing proves that it was them. Enrol:  stopgap responder enrol p57"
    assert target.refused() == [f"Refused an answer of p57 by Prefect form: {not_enrolled}"]


@on("drift")
def test_after_a_drift_neither_the_old_approval_nor_the_old_form_counts(target: Target, arena: Arena) -> None:
    first, second = arena.someone(), arena.someone()
    opened = target.fields(second)  # and goes for coffee
    target.meddle(replicas=2)
    assert target.submit(target.fields(first))["status"] == "ACCEPT"
    until(lambda: len(target.said("gate.asked")) == 2 and target.is_paused())
    assert target.said("gate.voided") == ["Add capacity: the approval is void, because the change is no longer the one approved"]
    assert target.gate().asks["differs"] == [{"what": "replicas now", "was": 3, "is": 2}]
    assert target.submit(opened)["status"] == "REJECT"  # the form knows the one digest
    target.forge(opened)  # past the form
    target.set_state("SCHEDULED")
    now = f"now it is about {target.gate().digest} (round 2 of scale). Look at it and decide anew."
    earlier = f"The answer is for change {opened['change']}, the question of round 1 of scale; {now}"
    assert target.refused() == [f"Refused an answer of {second.id} by Prefect form: {earlier}"]


def test_an_ended_run_takes_no_approval(arena: Arena) -> None:
    target, someone = arena.targets["ended"], arena.someone()
    fields = target.fields(someone)
    target.forge(fields)
    out(arena.stopgap("abort", target.id, "--as", someone.id, "--reason", "wrong cluster"))
    until(lambda: target.run().end is RunEnd.ABORTED)
    said = out(arena.decide(target, someone))
    ended = f"{target.id} has ended (aborted); there is nothing left to decide."
    assert ended in said
    refused = target.refused(2)
    assert sorted(refused) == [f"Refused an answer of {someone.id} by {channel}: {ended}" for channel in ("Prefect form", "terminal")]
    until(lambda: target.state() == "FAILED")
    assert target.submit(fields)["status"] == "ABORT"
    assert target.effects() == []


def test_an_expired_question_takes_no_approval(arena: Arena) -> None:
    target, someone = arena.targets["soon"], arena.someone()
    until(lambda: target.run().end is RunEnd.EXPIRED)
    digest = next(entry.data["digest"] for entry in arena.timeline.of_run(target.id) if entry.kind == "gate.asked")
    assert target.said("gate.expired") == ["Nobody decided about scale within 1s: expired"]
    fields = {"decision": "approve", "change": digest, "name": someone.id, "code": someone.code(), "reason": ""}
    assert target.submit(fields)["status"] == "ABORT"
    assert f"{target.id} has ended (expired)" in out(arena.decide(target, someone))
    assert len(target.refused()) == 1
    assert target.effects() == []


@on("starter")
def test_whoever_started_the_run_does_not_approve_it(target: Target, arena: Arena) -> None:
    starter = arena.people[0]
    assert target.submit(target.fields(starter))["status"] == "ACCEPT"
    (refused,) = target.refused()
    assert refused.startswith("Refused an answer of p00 by Prefect form: p00 started this run, and somebody else must approve it. p01, ")


@on("demoted")
def test_a_role_that_was_taken_away_a_second_ago_is_none(target: Target, arena: Arena) -> None:
    someone = arena.someone()
    fields = target.fields(someone)
    policy = arena.folder / "others" / "policy.yaml"
    text = policy.read_text()
    line = next(line for line in text.splitlines() if line.lstrip().startswith("incident-commander"))
    policy.write_text(text.replace(line, line.replace(f" {someone.id},", "")))
    assert target.submit(fields)["status"] == "ACCEPT"
    (refused,) = target.refused()
    assert refused.startswith(f"Refused an answer of {someone.id} by Prefect form: {someone.id} does not hold incident-commander. ")


def test_two_rejections_and_an_approval_at_once_have_one_outcome(arena: Arena) -> None:
    target = arena.targets["at-once"]
    voters = [(arena.someone(), verb) for verb in ("approve", "reject", "reject")]
    said = [out(each) for each in [arena.decide(target, person, verb=verb) for person, verb in voters]]
    until(lambda: target.run().end is RunEnd.REJECTED)
    decided = target.said("gate.decided")
    assert len(decided) == 1
    who, _, what = decided[0].partition(" ")
    assert who in {person.id for person, verb in voters if verb == "reject"}
    # Whoever answered first has taken command, and the others decide for them.
    assert what in {"(incident-commander) decided about scale: stop the run"} | {
        f"(incident-commander, for {person.id}) decided about scale: stop the run" for person, _ in voters
    }
    # An approval that came first is one of two, two rejections at the same moment both count, and whoever came later is told so.
    told = ("more must approve", "decided about scale: stop the run", "Too late: ", "has ended", "waits for nobody")
    assert all(any(words in each for words in told) for each in said), said
    assert target.effects() == []


@on("twice")
def test_one_person_is_no_quorum_of_two(target: Target, arena: Arena) -> None:
    someone = arena.someone()
    assert target.submit(target.fields(someone))["status"] == "ACCEPT"
    until(lambda: len(target.said("gate.answered")) == 1 and target.is_paused())
    assert target.submit(target.fields(someone))["status"] == "ACCEPT"
    (refused,) = target.refused()
    assert refused.startswith(f"Refused an answer of {someone.id} by Prefect form: {someone.id} has approved already; 1 more of ")


def test_a_decision_while_the_database_is_away_is_neither_lost_nor_half_taken(arena: Arena, database_server: Server) -> None:
    target, first, second = arena.targets["away"], arena.someone(), arena.someone()
    fields = target.fields(second)
    name = arena.timeline.engine.url.database
    with database_server.administrator() as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            terminal = arena.decide(target, first)
            assert "cannot be reached or refused" in out(terminal)
            assert terminal.returncode == 1
            assert target.submit(fields)["status"] == "ACCEPT"
            until(lambda: "the timeline cannot be reached" in arena.log.read_text())
            assert target.effects() == []
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    until(lambda: target.run().end is RunEnd.DONE)
    (answered,) = target.said("gate.answered")
    assert answered.startswith(f"{second.id} ")
    assert len(target.effects()) == 1


def test_a_thousand_guesses_open_nothing_and_shut_nobody_out_of_the_terminal(arena: Arena, guessed: Someone) -> None:
    target = arena.targets["guessed"]
    refused = target.refused(GUESSES, within=300)
    slowed = f"5 wrong one-time codes for {guessed.id} came by Prefect form within 10m, so this channel takes none of them until "
    assert sum(each == wrong_code_of(guessed.id) for each in refused) == codes.WRONG
    assert sum(slowed in each for each in refused) == GUESSES - codes.WRONG
    assert target.effects() == []
    assert f"{guessed.id} (incident-commander) approved scale" in out(arena.decide(target, guessed))
    until(lambda: target.run().end is RunEnd.DONE)


def test_neither_codes_nor_secrets_are_left_anywhere(
    arena: Arena, database_server: Server, prefect_server: PrefectServer, prefect_home: Path
) -> None:
    target, someone, other = arena.targets["traces"], arena.someone(), arena.someone()
    wrong, right = someone.wrong(), someone.code()
    assert target.submit(target.fields(someone, code=wrong, reason=f"it says {wrong}"))["status"] == "ACCEPT"
    until(lambda: target.refused() and target.is_paused())
    assert target.submit(target.fields(other, code="x" + other.code()))["status"] == "REJECT"
    assert target.submit(target.fields(someone, code=right, reason=f"it says {right}"))["status"] == "ACCEPT"
    until(lambda: target.run().end is RunEnd.DONE and target.state() == "COMPLETED")
    until(lambda: not unread(arena, target))
    with database_server.administrator() as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    files = [path for place in (arena.folder.parent, prefect_home, Path(data)) for path in place.rglob("*.log")]
    assert {"worker.log", "prefect.log", "server.log"} <= {path.name for path in files}
    logs = "".join(path.read_text(errors="replace") for path in files)
    everything = logs + dump(database_server.url("prefect")) + dump(arena.env["STOPGAP_DATABASE_URL"])
    assert len(everything) > 100_000
    # A microsecond may hold any six digits; a code stands alone.
    for code in (wrong, right, other.code()):
        assert re.findall(rf".{{60}}(?<![0-9a-f.]){code}(?![0-9a-f]).{{20}}", everything) == []
    assert KEY not in everything
    for secret in [SECRET_KEY, prefect_server.auth.split(":")[1], *(person.app.secret for person in arena.people)]:
        assert secret not in everything


def unread(arena: Arena, target: Target) -> list[str]:
    body = {"prefix": "suspended", "limit": 200}
    found = arena.prefect.post(f"/flow_runs/{target.flow_run}/input/filter", json=body).json()
    return [each["key"] for each in found if each["key"].endswith("-response")]


def dump(url: str) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute(
            "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        rows = [row[0] for (table,) in tables for row in connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()]
    return "\n".join(rows)
