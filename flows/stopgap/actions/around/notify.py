"""`notify.send`: a message to channels and people of policy.yaml, by apprise: Slack, Microsoft Teams, Mattermost, mail, SMS and some hundred more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import guard, messages
from stopgap.actions.contract import (
    Action,
    Change,
    Context,
    Effect,
    InDoubtError,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    TemporaryError,
    Undoes,
    action,
)
from stopgap.policy import addresses
from stopgap.policy.model import PersonId


@action
class NotifySend:
    """Send a message to channels and people: chat, mail, telephone."""

    name: ClassVar[str] = "notify.send"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {"notify": ["what each address of the channels and people allows"]}
    outputs: ClassVar[Mapping[str, str]] = {"told": "the names of those who were told"}

    to: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(min_length=1, max_length=20, description="Channels under `notify` of policy.yaml, and people who have a `notify` there."),
    ]
    title: Annotated[str, Field(min_length=1, max_length=200, description="The first line.")]
    text: Annotated[str, Field(min_length=1, max_length=4000, description="The message.")]
    repeatable: Annotated[
        bool, Field(description="When nobody knows whether it arrived, send it again; otherwise the incident commander is asked.")
    ] = False

    def targets(self) -> frozenset[Target]:
        """None: two runs may tell one channel something at the same time."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Show who would be told what; nobody can check whether it would arrive."""
        found = self._addresses(context)
        notes = () if self.repeatable else ("if stopgap dies while it sends, only a human can tell whether it arrived",)
        after = {"to": ", ".join(found), "title": self.title, "text": self.text}
        return Change(
            summary=f"tell {', '.join(self.to)}: {self.title}",
            now=dict.fromkeys(after, "not sent"),
            after=after,
            checked="unchecked",
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Tell each of them once, and say who could not be told."""
        told, left = list[str](), dict[str, messages.Failure]()
        for name, address in self._addresses(context).items():
            failure = self._tell(context, name, address)
            if failure:
                left[name] = failure
            else:
                told.append(name)
        if left:
            raise self._failed(told, left)
        return Outcome(changed=True, summary=f"told {', '.join(told)}: {self.title}", data={"told": told})

    def probe(self, context: Context, change: Change) -> Probe:
        """Mail, chat and telephone tell nobody whether a message arrived: it is sent again if it is repeatable, otherwise a human is asked."""
        return Probe.NOT_DONE if self.repeatable else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """What was said was said."""
        return None

    def _tell(self, context: Context, name: str, address: str) -> messages.Failure | None:
        if context.is_dry:
            raise guard.DryRunViolation(f"A dry run tried to tell {name} something; it may tell nobody. Nothing was sent.")
        within = timedelta(seconds=context.sending())
        return messages.attempt(address, title=self.title, body=f"{self.text}\n\n-- stopgap, {context.mark}", within=within)

    def _failed(self, told: list[str], left: Mapping[str, messages.Failure]) -> Exception:
        reasons = "; ".join(f"{name} could not be told: {failure.why}" for name, failure in left.items())
        said = f"{reasons}." + (f" Told: {', '.join(told)}." if told else "")
        if any(failure.may_have_left for failure in left.values()):
            return InDoubtError(f"{said} The message may have arrived all the same.")
        # Tried again as a whole, it would tell the others twice.
        return PermanentError(said) if told else TemporaryError(f"{said} Nobody was told.")

    def _addresses(self, context: Context) -> dict[str, str]:
        policy = context.policy
        folder = policy.path.absolute().parent if policy.path else Path.cwd()
        written: dict[str, tuple[str, ...]] = {channel.name: (channel.url,) for channel in policy.channels}
        written |= {str(person.id): person.notify for person in policy.people.values() if person.notify and str(person.id) not in written}
        found = {}
        for name in dict.fromkeys(self.to):
            if name not in written:
                raise PermanentError(_unknown(name, written, is_person=PersonId(name) in policy.people))
            for number, each in enumerate(written[name], start=1):
                try:
                    found[name if number == 1 else f"{name} ({number})"] = addresses.resolve(each, folder=folder)
                except addresses.AddressError as error:
                    raise PermanentError(f'The address of "{name}" in policy.yaml is not complete: {error}. Nobody was told.') from error
        return found


def _unknown(name: str, known: Mapping[str, object], *, is_person: bool) -> str:
    if is_person:
        return f'{name} has no address in policy.yaml.\nAdd one there:  people: {{{name}: {{notify: ["${{{name.upper()}_NOTIFY}}"]}}}}'
    return f'policy.yaml knows no channel and nobody named "{name}" who can be told something; it knows: {", ".join(known) or "none"}.'
