"""`Scenario`: what a drill file says, validated: which runbook, what is assumed, what people are expected to decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stopgap import document, schema
from stopgap.approvals.model import Answer
from stopgap.clock import parse_duration
from stopgap.incidents.model import RunEnd
from stopgap.policy.model import RoleName, Severity
from stopgap.problems import ProblemsError
from stopgap.runbook.model import Status, StepId
from stopgap.runbook.rules import spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta
    from pathlib import Path

    from stopgap.document import Document
    from stopgap.problems import Problem
    from stopgap.runbook.model import Runbook

KIND = "Drill"
DECISIONS: Mapping[str, Answer] = {"approve": Answer.APPROVE, "skip": Answer.SKIP, "stop": Answer.STOP, "undo": Answer.UNDO}
UNASKED = frozenset({Status.SKIPPED, Status.REJECTED, Status.EXPIRED})  # an assumed outcome that comes instead of the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDecision:
    """What should be decided at a step's gate. `within` counts from the first question; `by` is a role."""

    answer: Answer
    within: timedelta | None = None
    by: RoleName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a well-handled incident looks like; None or empty where the scenario does not mind."""

    end: RunEnd | None = None
    steps: Mapping[StepId, Status] = field(default_factory=dict)
    decisions: Mapping[StepId, ExpectedDecision] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A drill. `given` holds the outcome each step is assumed to have; what is missing is asked of the facilitator."""

    name: str
    runbook: str
    title: str
    path: Path
    description: str = ""
    severity: Severity | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[StepId, Status] = field(default_factory=dict)
    expect: Expectation = field(default_factory=Expectation)


def load(path: Path, *, runbook: Runbook | None = None) -> Scenario:
    """Read a drill; ProblemsError with every mistake in it, names that the runbook does not have included when it is given."""
    found, problems = document.examine(path)
    if found is not None:
        problems = [*problems, *check(found, runbook=runbook)]
    if found is None or problems:
        raise ProblemsError(problems)
    return _scenario(found)


def load_all(folder: Path) -> dict[str, Scenario]:
    """Read every drill below a folder, by name; files of another kind are passed over. ProblemsError with the mistakes of all."""
    scenarios, wrong = load_sound(folder)
    if wrong:
        raise ProblemsError(wrong)
    return scenarios


def load_sound(folder: Path) -> tuple[dict[str, Scenario], list[Problem]]:
    """Read the drills below a folder that have no mistakes, and the mistakes of the others."""
    scenarios: dict[str, Scenario] = {}
    wrong: list[Problem] = []
    for path in sorted(folder.rglob("*.drill.yaml")):
        try:
            found = load(path)
        except ProblemsError as error:
            wrong += error.problems
        else:
            scenarios[found.name] = found
    return scenarios, wrong


def check(found: Document, *, runbook: Runbook | None = None) -> list[Problem]:
    """Return the mistakes of a drill's document; those against its runbook only when that is given."""
    problems = schema.check(found, "drill")
    return problems if problems or runbook is None else list(_against(found, runbook))


def _against(found: Document, runbook: Runbook) -> Iterator[Problem]:
    if found.data["runbook"] != runbook.name:
        yield found.problem(
            ("runbook",), f'this drill is for the runbook "{found.data["runbook"]}", not "{runbook.name}"', "unknown-runbook"
        )
        return
    steps = [str(each.id) for step in runbook.steps for each in (step, *step.parallel)]
    lists = {str(step.id) for step in runbook.steps if step.for_each is not None}
    yield from spoken.check(found, runbook.name, steps=steps, lists=lists)
    for name in found.data.get("parameters", {}):
        if name not in runbook.parameters:
            known = list(runbook.parameters)
            hint = schema.nearest(name, known) or f"the parameters are {schema.listed(known, last='and') or 'none'}"
            yield found.problem(
                ("parameters", name), f'{runbook.name} has no parameter "{name}"', "unknown-parameter", hint=hint, at_key=True
            )
    yield from _unasked(found)


def _unasked(found: Document) -> Iterator[Problem]:
    given = found.data.get("given", {})
    for step in found.data.get("expect", {}).get("decisions", {}):
        if given.get(step) in UNASKED:
            sentence = f'nobody is asked about "{step}", because it is given as {given[step]}'
            hint = "give it done or failed, so that the gate is asked first"
            yield found.problem(("expect", "decisions", step), sentence, "never-asked", hint=hint, at_key=True)


def _scenario(found: Document) -> Scenario:
    data = found.data
    return Scenario(
        name=data["name"],
        runbook=data["runbook"],
        title=data["title"],
        path=found.path,
        description=data.get("description", ""),
        severity=Severity(data["severity"]) if "severity" in data else None,
        parameters=dict(data.get("parameters", {})),
        given=_statuses(data.get("given", {})),
        expect=_expectation(data.get("expect", {})),
    )


def _expectation(data: Mapping[str, Any]) -> Expectation:
    return Expectation(
        end=RunEnd(data["status"]) if "status" in data else None,
        steps=_statuses(data.get("steps", {})),
        decisions={StepId(step): _decision(each) for step, each in data.get("decisions", {}).items()},
    )


def _statuses(data: Mapping[str, str]) -> dict[StepId, Status]:
    return {StepId(step): Status(status) for step, status in data.items()}


def _decision(data: Mapping[str, str]) -> ExpectedDecision:
    return ExpectedDecision(
        answer=DECISIONS[data["decision"]],
        within=parse_duration(data["within"]) if "within" in data else None,
        by=RoleName(data["by"]) if "by" in data else None,
    )
