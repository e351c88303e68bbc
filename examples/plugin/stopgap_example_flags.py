"""`flags.switch`: switch a feature flag on or off.

The service is a small one of our own kind: GET /flags/NAME answers {"enabled": false, "version": 7, "by": "INC-12.1/calm/1"}, and a PUT
with {"enabled": true, "version": 7, "by": ...} changes it, or answers 412 when the version is another one by now.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import exchange, fields
from stopgap.actions.contract import (
    Action,
    Change,
    ConflictError,
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

OK, PRECONDITION_FAILED, SERVER_ERRORS = 200, 412, 500
WORDS = {True: "on", False: "off"}


@action
class Switch:
    """Switch a feature flag on or off."""

    name: ClassVar[str] = "flags.switch"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {"flags": ["may read and write the flag {flag}"]}
    outputs: ClassVar[Mapping[str, str]] = {"version": "the flag's version now"}

    service: Annotated[fields.Url, Field(description="The address of the service.")]
    flag: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=60, description="The flag's name.")]
    enabled: Annotated[bool, Field(description="Whether it shall be on.")]

    def targets(self) -> frozenset[Target]:
        """The flag: two runs never switch it at once."""
        return frozenset({Target(f"flags/{self.service.partition('://')[2].rstrip('/')}/{self.flag}")})

    def plan(self, context: Context) -> Change:
        """Read the flag."""
        found = self._read(context)
        now, after = WORDS[found["enabled"]], WORDS[self.enabled]
        return Change(
            summary=f"{self.flag}: {now} -> {after}",
            now={"flag": now},
            after={"flag": after},
            material={"flag": now},
            precondition=str(found["version"]),
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Write it, if it is still of the version that was read, with our mark."""
        if change.is_empty:
            return Outcome(changed=False, summary=f"{self.flag} is {WORDS[self.enabled]} already")
        wanted = {"enabled": self.enabled, "version": int(change.precondition), "by": context.mark}
        question = exchange.Question(method="PUT", url=self._url, headers={}, json=wanted)
        answer = exchange.ask(context, question, seconds=context.sending())
        if answer.status == PRECONDITION_FAILED:
            raise ConflictError(f"{question}: somebody else has switched {self.flag} meanwhile; nothing was written.")
        if answer.status >= SERVER_ERRORS:
            raise InDoubtError(f"{question} answered {answer.status}; it may have happened all the same.")
        if answer.status != OK:
            raise PermanentError(f"{question} was refused with {answer.status}: {answer.text[:200]}")
        return Outcome(changed=True, summary=f"{self.flag} is {WORDS[self.enabled]}", data={"version": answer.body["version"]})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark on the flag, and whether it still is as we left it."""
        found = self._read(context)
        if found["by"] != context.mark:
            return Probe.NOT_DONE
        return Probe.DONE if found["enabled"] == self.enabled else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Switch it back."""
        return None if change.is_empty else Switch(service=self.service, flag=self.flag, enabled=not self.enabled)

    @property
    def _url(self) -> str:
        return f"{self.service.rstrip('/')}/flags/{self.flag}"

    def _read(self, context: Context) -> dict[str, Any]:
        question = exchange.Question(method="GET", url=self._url, headers={})
        answer = exchange.ask(context, question, seconds=context.seconds_left())
        if answer.status >= SERVER_ERRORS:
            raise TemporaryError(f"{question} answered {answer.status}.")
        if answer.status != OK or not isinstance(answer.body, dict):
            raise PermanentError(f"{question} answered {answer.status}: {answer.text[:200]}")
        return dict(answer.body)
