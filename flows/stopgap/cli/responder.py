"""`stopgap responder`: enrol people for the one-time codes that prove who decides."""

from __future__ import annotations

import difflib
import json
import sys
import uuid
from typing import TYPE_CHECKING

import click

from stopgap.approvals import codes, responders
from stopgap.cli import asking, examples
from stopgap.clock import SystemClock, format_time
from stopgap.policy.model import PersonId
from stopgap.problems import Exit, StopgapError, UsageError
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline

_TRIES = 3
_WHO = "Who does it (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
_LINES = "Read the codes as lines of standard input, for scripts; otherwise they are asked for."
as_person = click.option("--as", "by", metavar="PERSON", help=_WHO)
code_stdin = click.option("--code-stdin", is_flag=True, help=_LINES)


class CodeRefusedError(StopgapError):
    """The one-time code proved nothing."""


@click.group()
def command() -> None:
    """Enrol people for the one-time codes of an app on their telephone, without which their decisions do not count.

    The first is an administrator (policy.yaml names them), enrolled by whoever installs stopgap. From then on enrolling and revoking
    needs the code of an enrolled administrator, or one's own.
    """


@command.command(
    epilog=examples.lines(
        ("stopgap responder enrol ada", "the first, or yourself anew on another telephone"),
        ("stopgap responder enrol ben --as ada", "somebody else, with your code as an administrator"),
    )
)
@click.argument("name")
@as_person
@code_stdin
def enrol(*, name: str, by: str | None, code_stdin: bool) -> int:
    """Show the QR code of a new secret for NAME to scan, and enrol them once a code of it comes back.

    The secret is shown this once, to this terminal; it is kept encrypted. An earlier enrolment of NAME ends.
    --code-stdin reads first the code of whoever does it, where one is needed, then a code of the new secret.

    Exit codes: 0 enrolled, 1 refused, 2 not understood.
    """
    import pyotp

    with timelines.timeline() as timeline:
        policy = asking.policy()
        person, who = _person(policy, name), asking.me(by)
        found = responders.roll(timeline)
        if responders.require_allowed(found, policy, person=person, by=who):
            _prove(timeline, PersonId(who), from_stdin=code_stdin)
        secret = pyotp.random_base32()
        _show(pyotp.TOTP(secret).provisioning_uri(name=person, issuer_name="stopgap"), secret, policy.people[person].name)
        counter = _scanned(person, secret, from_stdin=code_stdin)
        enrolment = responders.enrol(timeline, found, person=person, by=who, secret=secret)
        codes.use_up(timeline, enrolment, counter, now=SystemClock().now())
    click.echo(f"{person} is enrolled. The code you just typed is used up; the next one counts.")
    return Exit.DONE


@command.command(
    epilog=examples.lines(
        ("stopgap responder revoke ben --as ada", "ben lost the telephone"),
        ("stopgap responder revoke ada", "yourself"),
    )
)
@click.argument("name")
@as_person
@code_stdin
def revoke(*, name: str, by: str | None, code_stdin: bool) -> int:
    """Let no code of NAME count from now on.

    Exit codes: 0 revoked, 1 refused, 2 not understood.
    """
    with timelines.timeline() as timeline:
        who, person = asking.me(by), PersonId(name)
        found = responders.roll(timeline)
        _require_enrolled(found, person)
        if responders.require_allowed(found, asking.policy(), person=person, by=who):
            _prove(timeline, PersonId(who), from_stdin=code_stdin)
        responders.revoke(timeline, found, person=person, by=who)
    click.echo(f"{person} is revoked; no code of theirs counts any more.")
    return Exit.DONE


@command.command(
    "list",
    epilog=examples.lines(
        ("stopgap responder list", "who is enrolled and who is not"),
        ("stopgap responder list --json", "for a program"),
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def show(*, as_json: bool) -> None:
    """Show everybody in policy.yaml or enrolled, since when, and by whom. No secret is shown."""
    with timelines.timeline() as timeline:
        enrolled = responders.roll(timeline).enrolled
    people = dict.fromkeys([*asking.policy().people, *enrolled])
    rows = [(person, enrolled.get(person)) for person in people]
    if as_json:
        found = [
            {"person": person, "since": format_time(each.since) if each else None, "by": each.by if each else None} for person, each in rows
        ]
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for person, each in rows:
        click.echo(f"{person}\t{f'enrolled {each.since:%Y-%m-%d %H:%M:%S} UTC by {each.by}' if each else 'not enrolled'}")


@command.command(epilog=examples.lines(("stopgap responder test ada", "is the telephone's clock right, and the key here?")))
@click.argument("name")
@code_stdin
def test(*, name: str, code_stdin: bool) -> int:
    """Try a code of NAME, as a decision would. It is used up.

    Exit codes: 0 it is right, 1 it is not.
    """
    with timelines.timeline() as timeline:
        person = PersonId(name)
        _require_enrolled(responders.roll(timeline), person)
        _prove(timeline, person, from_stdin=code_stdin)
    click.echo(f"That is a right code of {person}. It is used up; the next one counts.")
    return Exit.DONE


def _person(policy: Policy, name: str) -> PersonId:
    if name not in policy.people:
        near = difflib.get_close_matches(name, policy.people, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"The people are {', '.join(policy.people)}."
        raise UsageError(f'policy.yaml knows nobody called "{name}". {hint}')
    return PersonId(name)


def _require_enrolled(found: responders.Roll, person: PersonId) -> None:
    if person not in found.enrolled:
        raise UsageError(f"{person} is not enrolled. See who is:  stopgap responder list")


def _prove(timeline: Timeline, person: PersonId, *, from_stdin: bool) -> None:
    code = asking.code(person, from_stdin=from_stdin)
    proof = codes.Proof(attempt=f"terminal/{uuid.uuid4().hex}", person=person, code=code, channel=codes.TERMINAL)
    objection = codes.check(timeline, proof, now=SystemClock().now())
    if objection:
        raise CodeRefusedError(objection)


def _show(uri: str, secret: str, name: str) -> None:
    import segno

    click.echo(f"For {name}: scan this with an app for one-time codes, or type the key into it. It is not shown again.\n")
    if sys.stdout.isatty():
        segno.make(uri, error="m").terminal(out=sys.stdout, compact=True)
        click.echo(f"\n  key  {' '.join(secret[start : start + 4] for start in range(0, len(secret), 4))}\n")
    else:
        click.echo(f"{uri}\n")
    sys.stdout.flush()


def _scanned(person: PersonId, secret: str, *, from_stdin: bool) -> int:
    """Ask for a code of the new secret, so that nobody is enrolled whose app does not work; return which it was."""
    for _ in range(_TRIES):
        code = asking.code(person, from_stdin=from_stdin)
        counter = codes.matching(secret, code, SystemClock().now()) if codes.is_code(code) else None
        if counter is not None:
            return counter
        click.echo("That is not the code of this secret now. Is the telephone's clock right?", err=True)
        if from_stdin:
            break
    raise CodeRefusedError(f"{person} is not enrolled: no code of the new secret came back. Nothing has changed.")
