"""What `approve`, `reject` and `abort` share: finding the open question, showing it, answering it, waking the run."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

import click

from stopgap import home
from stopgap.approvals import bounds, codes, decide, entitled, lapse
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Answer, Attempt, Gate, Question
from stopgap.cli import asking
from stopgap.clock import SystemClock, format_duration
from stopgap.engine import nested
from stopgap.incidents import fold
from stopgap.problems import Exit, StopgapError, UsageError
from stopgap.runbook import load as runbooks
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline


class NothingToDecideError(StopgapError):
    """The run waits for nobody."""


def answer(  # noqa: PLR0913  one an option of the verbs
    name: str,
    wanted: Answer,
    *,
    person: str | None,
    reason: str,
    sure: bool,
    step: str | None,
    code_stdin: bool = False,
    breaks_glass: bool = False,
) -> int:
    """Answer the question a run waits with, after showing it; refusals are sentences and exit code 1."""
    with timelines.timeline() as timeline:
        run = _asking(timeline, fold.find_run(timeline, name))
        policy = _policy(run)
        try:
            gate = _waiting(timeline, run, step)
        except NothingToDecideError:
            given = _attempt(wanted, person=person, reason=reason)
            decide.decide(timeline, policy, SystemClock(), run=run, attempt=given)  # refused, and on the timeline
            raise
        if wanted not in gate.allowed:
            raise UsageError(f"{run.id} asks something else; it can be answered with: {', '.join(gate.allowed)}.")
        side = entitled.Side.of(policy, timeline.of_chain(run.incident), now=SystemClock().now())
        _show(lapse.seen(timeline, gate, side))
        alone = " alone, which everybody is told" if breaks_glass else ""
        if not sure and not _is_sure(f"{wanted.capitalize()} as {asking.me(person)}{alone}?"):
            click.echo(f"Nothing was decided; {run.id} still waits.", err=True)
            return Exit.FAILED
        code = asking.code_if_needed(timeline, policy, asking.me(person), from_stdin=code_stdin)
        attempt = _attempt(wanted, person=person, reason=reason, digest=gate.digest, code=code, breaks_glass=breaks_glass)
        verdict = decide.decide(timeline, policy, SystemClock(), run=run, attempt=attempt)
        click.echo(verdict.text, err=not verdict.accepted)
        if verdict.accepted and run.runbook:
            wake(fold.find_run(timeline, run.id))
        return Exit.DONE if verdict.accepted else Exit.FAILED


def _asking(timeline: Timeline, run: Run) -> Run:
    """Return the run that asks: a run whose step is a run of its own waits for the answer to that one's question."""
    while gates.waiting(timeline.of_run(run.id)) is None and (within := nested.open_ones(timeline, run)):
        run = within[0]
    return run


def _attempt(  # noqa: PLR0913  an answer's parts
    wanted: Answer, *, person: str | None, reason: str, digest: str = "", code: str = "", breaks_glass: bool = False
) -> Attempt:
    return Attempt(
        id=f"terminal/{uuid.uuid4().hex}",
        person=asking.me(person),
        answer=str(wanted),
        digest=digest,
        reason=reason,
        channel=codes.TERMINAL,
        code=code,
        breaks_glass=breaks_glass,
    )


def _is_sure(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        raise UsageError("\nNothing was decided: there is no terminal to ask back on. Say that it is meant with  --yes") from error


def wake(run: Run) -> None:
    """Let a sleeping run look at the timeline; when Prefect is away the worker does it later."""
    from stopgap.engine import api, server, start

    try:
        server.use_current()
        start.wake(api.Api.of_environment(), run)
    except StopgapError as error:
        click.echo(f"It is on the timeline. {run.id} cannot be woken from here; its worker does it. {error}", err=True)


def _policy(run: Run) -> Policy:
    """Read the policy that the run itself goes by."""
    sound, _ = runbooks.load_sound(home.runbooks_folder())
    return asking.policy(sound.get(run.runbook))


def _waiting(timeline: Timeline, run: Run, step: str | None) -> Gate:
    gate = gates.waiting(timeline.of_run(run.id))
    if run.end is not None:
        raise NothingToDecideError(
            f"{run.id} has ended ({run.end}); there is nothing left to decide. See it with:  stopgap timeline show {run.id}"
        )
    if gate is None:
        raise NothingToDecideError(f"{run.id} waits for nobody at the moment. Follow it with:  stopgap timeline follow {run.incident}")
    if step and step != gate.step:
        raise UsageError(f'{run.id} waits at step "{gate.step}", not at "{step}". Leave --step out, or name that one.')
    return gate


def _show(gate: Gate) -> None:
    asks = gate.asks
    click.echo(f"{gate.run}  step {gate.step}, asked at {gate.asked_at.astimezone():%H:%M:%S}, open for {format_duration(gate.expires)}")
    if gate.question is not Question.APPROVE:
        click.echo(f"  {asks['why']}")
        return
    change = asks["change"]
    click.echo(f"  {change['summary']}")
    for key in dict.fromkeys([*change["now"], *change["after"]]):
        now, after = change["now"].get(key), change["after"].get(key)
        click.echo(f"    {key}: {now}" if now == after else f"    {key}: {now} -> {after}")
    if asks.get("targets"):
        click.echo(f"  where: {', '.join(asks['targets'])}")
    if asks.get("lapsed"):
        click.echo(f"  asked again: the approval is void, because {asks['lapsed']}")
    for moved in asks.get("differs", ()):
        click.echo(f"  moved since it was approved: {moved['what']}: {moved['was']} -> {moved['is']}")
    if gate.bounds:
        click.echo(f"  --answer within-bounds allows it also while: {bounds.text(gate.bounds)}")
    for note in change["notes"]:
        click.echo(f"  note: {note}")
    click.echo(f"  change {gate.digest}; asked because {asks['why']}")
    if gate.approvers > 1:
        so_far = ", ".join(answer.who for answer in gate.answers) or "nobody yet"
        click.echo(f"  {gate.approvers} different people must approve; so far: {so_far}; still needed: {gate.still_needed}")
    for lost in gate.lapsed:
        click.echo(f"  {lost}")
