"""Which runbook an alert starts: the one with the most specific trigger that fits; with what parameters; and why not the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.plan import parameters
from stopgap.problems import StopgapError
from stopgap.runbook import expressions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.alerts.model import Alert
    from stopgap.runbook.model import Runbook, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What became of holding one trigger against an alert: `why_not` is empty when it fits."""

    runbook: Runbook
    trigger: Trigger
    why_not: str = ""

    @property
    def weight(self) -> int:
        """How specific the trigger is: one for each label, and one for a condition."""
        return len(self.trigger.match) + (self.trigger.when is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What an alert would start. Without `best`, `why_not` says why nothing; with it, `parameters` are checked, or `why_not` says what is wrong."""

    looks: tuple[Look, ...]
    best: Look | None = None
    parameters: Mapping[str, Any] | None = None
    why_not: str = ""


def names(alert: Alert, *, body: Any, delivery: str = "") -> dict[str, Any]:
    """Return what the expressions of a trigger may read."""
    return {"alert": {**alert.to_json(), "delivery": delivery, "raw": body}}


def match(runbooks: Mapping[str, Runbook], alert: Alert, *, body: Any, delivery: str = "") -> Matched:
    """Hold every trigger against an alert."""
    known = names(alert, body=body, delivery=delivery)
    looks = tuple(
        Look(runbook=runbook, trigger=trigger, why_not=_why_not(runbook, trigger, alert, known))
        for runbook in runbooks.values()
        for trigger in runbook.triggers
    )
    fitting = sorted((look for look in looks if not look.why_not), key=lambda look: -look.weight)
    if not fitting:
        return Matched(looks=looks, why_not="no runbook has a trigger for it")
    rivals = {look.runbook.name: look for look in fitting if look.weight == fitting[0].weight}
    if len(rivals) > 1:
        return Matched(looks=looks, why_not=f"{' and '.join(sorted(rivals))} have triggers that fit it equally well")
    return _with_parameters(looks, fitting[0], known)


def _with_parameters(looks: tuple[Look, ...], best: Look, known: Mapping[str, Any]) -> Matched:
    secrets = [name for name, each in best.runbook.parameters.items() if each.secret]
    if secrets:  # they would stand on the timeline
        return Matched(looks=looks, best=best, why_not=f"{', '.join(secrets)} is secret, so it is started from its form in the Prefect UI")
    try:
        given = expressions.render(dict(best.trigger.parameters), known)
        checked = parameters.check(best.runbook, given)
    except StopgapError as error:
        return Matched(looks=looks, best=best, why_not=str(error))
    return Matched(looks=looks, best=best, parameters=checked)


def _why_not(runbook: Runbook, trigger: Trigger, alert: Alert, known: Mapping[str, Any]) -> str:
    if trigger.source != alert.source:
        return f"it is for {trigger.source}"
    if different := _different(trigger, alert):
        return different
    if runbook.archived:
        return "the runbook is archived"
    if trigger.when is None:
        return ""
    try:
        return "" if expressions.holds(trigger.when, known) else f"{trigger.when} does not hold"
    except StopgapError as error:
        return str(error)


def _different(trigger: Trigger, alert: Alert) -> str:
    """Name the first label that is not as the trigger wants it."""
    for name, wanted in trigger.match.items():
        if alert.labels.get(name) != wanted:
            return f'{name} is "{alert.labels[name]}", not "{wanted}"' if name in alert.labels else f"the alert has no label {name}"
    return ""
