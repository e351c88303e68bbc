"""`stopgap incident`: the people side of an incident."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import click

from stopgap.approvals import handover
from stopgap.cli import asking, examples, incidenttasks, incidenttelling, incidentverbs
from stopgap.clock import SystemClock, format_time
from stopgap.incidents import fold, roles
from stopgap.problems import Exit
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.policy.model import Policy, RoleName

_AS = "Who does it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
_CODE = "Read the one-time code from standard input, for scripts; otherwise it is asked for."
as_person = click.option("--as", "by", metavar="PERSON", help=_AS)
code_stdin = click.option("--code-stdin", is_flag=True, help=_CODE)
because = click.option("--reason", default="", help="Why; it stands on the timeline.")


@click.group()
def command() -> None:
    """Open incidents, see where they stand, look after them and end them; tell people, wake people, say what is to be done, hand roles over."""


for _verb in (*incidentverbs.VERBS, *incidenttelling.VERBS, *incidenttasks.VERBS):
    command.add_command(_verb)


@command.command(
    epilog=examples.lines(
        ("stopgap incident assign INC-12 incident-commander ben", "ben commands once they have acknowledged it"),
        ("stopgap incident assign INC-12 incident-commander ada --as ada", "take command yourself, at once"),
    )
)
@click.argument("incident")
@click.argument("role")
@click.argument("person")
@because
@as_person
@code_stdin
def assign(*, incident: str, role: str, person: str, reason: str, by: str | None, code_stdin: bool) -> int:  # noqa: PLR0913  one an option
    """Give ROLE in INCIDENT to PERSON, whom policy.yaml names for it.

    It changes hands when PERSON acknowledges it (stopgap incident accept); until then whoever held it does. Who gives it to themselves
    has it at once. Each needs their own one-time code, unless policy says otherwise.

    Exit codes: 0 recorded, 1 refused, 2 not understood.
    """
    return _at_desk(incident, by, code_stdin, lambda desk, hand: desk.assign(role, person, hand=hand, reason=reason))


@command.command(epilog=examples.lines(("stopgap incident accept INC-12 incident-commander --as ben", "acknowledge, and hold it")))
@click.argument("incident")
@click.argument("role")
@as_person
@code_stdin
def accept(*, incident: str, role: str, by: str | None, code_stdin: bool) -> int:
    """Acknowledge ROLE in INCIDENT that was given to you: from now on you hold it."""
    return _at_desk(incident, by, code_stdin, lambda desk, hand: desk.acknowledge(role, hand=hand, accepts=True))


@command.command(epilog=examples.lines(("stopgap incident decline INC-12 scribe --as ben --reason 'on a train'", "it stays where it was")))
@click.argument("incident")
@click.argument("role")
@because
@as_person
@code_stdin
def decline(*, incident: str, role: str, reason: str, by: str | None, code_stdin: bool) -> int:
    """Decline ROLE in INCIDENT that was given to you: whoever held it still does."""
    return _at_desk(incident, by, code_stdin, lambda desk, hand: desk.acknowledge(role, hand=hand, accepts=False, reason=reason))


@command.command(epilog=examples.lines(("stopgap incident leave INC-12 scribe --as ben", "nobody holds it afterwards")))
@click.argument("incident")
@click.argument("role")
@because
@as_person
@code_stdin
def leave(*, incident: str, role: str, reason: str, by: str | None, code_stdin: bool) -> int:
    """Give up ROLE in INCIDENT without a successor."""
    return _at_desk(incident, by, code_stdin, lambda desk, hand: desk.leave(role, hand=hand, reason=reason))


@command.command(
    "roles", epilog=examples.lines(("stopgap incident roles INC-12", "who holds what"), ("stopgap incident roles INC-12 --json", ""))
)
@click.argument("incident")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def show_roles(*, incident: str, as_json: bool) -> None:
    """List every role of policy.yaml: who holds it in INCIDENT since when, whom it waits for, and who may hold it."""
    policy = asking.policy()
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        now = roles.fold(timeline.of_chain(found.id))
    rows = [_row(policy, now, role) for role in policy.roles]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        held = f"{row['holder']} since {row['since']}" if row["holder"] else "nobody"
        offered = f"; waits for {row['offered_to']} to acknowledge" if row["offered_to"] else ""
        click.echo(f"{row['role']}\t{held}{offered}\tmay hold it: {', '.join(row['may_hold']) or 'nobody'}")


def _row(policy: Policy, now: roles.Roles, role: RoleName) -> dict[str, Any]:
    held, offered = now.held.get(role), now.offered.get(role)
    return {
        "role": role,
        "holder": held.person if held else None,
        "since": format_time(held.since) if held else None,
        "offered_to": offered.person if offered else None,
        "may_hold": list(policy.holders(role)),
    }


def _at_desk(incident: str, by: str | None, from_stdin: bool, act: Callable[[handover.Desk, handover.Hand], str]) -> int:  # noqa: FBT001  the option's
    """Do something about a role, as whoever asks, with their code."""
    policy, person = asking.policy(), asking.me(by)
    with timelines.timeline() as timeline:
        desk = handover.open_desk(timeline, policy, SystemClock(), incident=incident)
        code = asking.code_if_needed(timeline, policy, person, from_stdin=from_stdin)
        click.echo(act(desk, handover.Hand(person=person, code=code, attempt=f"terminal/{uuid.uuid4().hex}")))
    return Exit.DONE
