"""`stopgap incident update | page`: what people outside the response hear, and who is woken."""

from __future__ import annotations

import difflib
import uuid
from typing import TYPE_CHECKING

import click

from stopgap.approvals import publishing
from stopgap.cli import asking, examples
from stopgap.clock import SystemClock, parse_duration
from stopgap.incidents import fold, paging
from stopgap.policy.model import RoleName
from stopgap.problems import UsageError
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from datetime import datetime

    from stopgap.policy.model import Policy

_AS = "Who does it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
as_person = click.option("--as", "by", metavar="PERSON", help=_AS)


@click.command(
    epilog=examples.lines(
        ("stopgap incident update INC-12 'We roll back.' --eta 20m", "everybody inside, at once"),
        ("stopgap incident update INC-12 'Payments may fail.' --audience public", "after the communications role approved it"),
    )
)
@click.argument("incident")
@click.argument("text")
@click.option("--audience", type=click.Choice(["internal", "public"]), default="internal", show_default=True, help="Who hears it.")
@click.option("--eta", metavar="DURATION", help="In how long the trouble is expected to be over, like 20m.")
@as_person
def update(*, incident: str, text: str, audience: str, eta: str | None, by: str | None) -> None:
    """Send TEXT about INCIDENT as one message to every channel of policy.yaml; a worker sends it.

    An internal update goes to internal channels. A public one goes to public ones too, word for word as it was approved: it first waits
    for the communications role (stopgap approve).
    """
    person, over = asking.me(by), _moment(eta)
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        if audience == "internal":
            click.echo(publishing.tell(timeline, found, person=person, text=text, eta=over).text)
            return
        policy = asking.policy()
        run = publishing.draft(timeline, policy, found, person=person, text=text, eta=over)
    who = ", ".join(policy.holders(policy.incidents.communications))
    click.echo(f"{run.id} waits for {policy.incidents.communications} ({who}). Approve it:  stopgap approve {run.id}")


@click.command(
    epilog=examples.lines(("stopgap incident page INC-12 database-oncall --reason 'replication is broken'", "until somebody acknowledges"))
)
@click.argument("incident")
@click.argument("role")
@click.option("--reason", default="", help="Why; it stands in the page.")
@as_person
def page(*, incident: str, role: str, reason: str, by: str | None) -> None:
    """Wake whoever is on call for ROLE because of INCIDENT, again and again, each time one person more, until somebody acknowledges.

    Acknowledging is the link in the message, or: stopgap incident ack INCIDENT
    """
    policy, person = asking.policy(), asking.me(by)
    named = _role(policy, role)
    with timelines.timeline() as timeline:
        found = fold.find_incident(timeline, incident)
        if found.resolved_at:
            raise UsageError(f"{found.id} is over; there is nothing to wake anybody for.")
        asked = paging.ask(timeline, found, role=named, by=person, why=reason, key=uuid.uuid4().hex)
    now = SystemClock().now()
    on_call = policy.on_call[named].at(now) if named in policy.on_call else None
    first = on_call or next(iter(policy.holders(named)), "nobody: policy.yaml names no one")
    click.echo(f"{asked.data['page']}: {asked.text}. First: {first}")


def _role(policy: Policy, name: str) -> RoleName:
    if name not in policy.roles:
        near = difflib.get_close_matches(name, policy.roles, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"The roles are {', '.join(policy.roles)}."
        raise UsageError(f'policy.yaml has no role "{name}". {hint}')
    return RoleName(name)


def _moment(duration: str | None) -> datetime | None:
    if duration is None:
        return None
    try:
        return SystemClock().now() + parse_duration(duration)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint="--eta") from error


VERBS = (update, page)
