"""`Score`: who decided what in which time in a drill, held against what its scenario expects. Read from the timeline alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stopgap.clock import format_duration
from stopgap.runbook.model import StepId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stopgap.drills.scenario import ExpectedDecision, Scenario
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry

NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One gate's end. `answer` is the word in the form, or "expired"; `took` counts from the step's first question."""

    step: StepId
    answer: str
    by: str
    took: timedelta
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One expectation: what it is about, what was expected, what was found."""

    about: str
    expected: str
    found: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A drill's result. `took` runs from the first to the last entry of the run; `end` is empty while it goes on."""

    scenario: str
    title: str
    run: str
    end: str
    took: timedelta
    decisions: tuple[Decision, ...]
    checks: tuple[Check, ...]

    @property
    def held(self) -> int:
        """How many expectations held."""
        return sum(check.held for check in self.checks)

    @property
    def passed(self) -> bool:
        """Every expectation held."""
        return self.held == len(self.checks)


def score(scenario: Scenario, entries: Iterable[Entry], *, policy: Policy | None = None) -> Score:
    """Score a drill's run from its entries. With a policy, a decider is held against the role that was expected to decide."""
    run = sorted(entries, key=lambda entry: entry.number)
    decisions = tuple(_decisions(run))
    statuses = {StepId(entry.step): str(entry.data["status"]) for entry in run if entry.kind == "step.finished"}
    end = next((str(entry.data["end"]) for entry in run if entry.kind == "run.finished"), "")
    checks = [*_end_check(scenario, end), *_step_checks(scenario, statuses), *_decision_checks(scenario, decisions, policy)]
    return Score(
        scenario=scenario.name,
        title=scenario.title,
        run=next((entry.run for entry in run if entry.run), ""),
        end=end,
        took=run[-1].at - run[0].at if run else timedelta(0),
        decisions=decisions,
        checks=tuple(checks),
    )


def _decisions(run: Sequence[Entry]) -> Iterator[Decision]:
    """Yield each step's last decision, in the order of the first questions. A facilitator's answer about an outcome is none."""
    asked = [entry for entry in run if entry.kind == "gate.asked" and entry.data["question"] in ("approve", "confirm")]
    for step in dict.fromkeys(entry.step for entry in asked):
        questions = [entry for entry in asked if entry.step == step]
        rounds = {entry.data["round"] for entry in questions}
        ends = [entry for entry in run if entry.step == step and entry.kind in ("gate.decided", "gate.expired")]
        ends = [entry for entry in ends if entry.data.get("round") in rounds]
        if ends:
            yield _decision(questions, ends[-1])


def _decision(questions: Sequence[Entry], end: Entry) -> Decision:
    expired = end.kind == "gate.expired"
    return Decision(
        step=StepId(end.step),
        answer="expired" if expired else str(end.data["answer"]),
        by=NOBODY if expired else end.actor,
        took=end.at - questions[0].at,
        rounds=len(questions),
    )


def _end_check(scenario: Scenario, end: str) -> Iterator[Check]:
    if scenario.expect.end is not None:
        expected = str(scenario.expect.end)
        yield Check(about="the run", expected=expected, found=end or "not finished", held=end == expected)


def _step_checks(scenario: Scenario, statuses: dict[StepId, str]) -> Iterator[Check]:
    for step, status in scenario.expect.steps.items():
        found = statuses.get(step, "not reached")
        yield Check(about=f"step {step}", expected=str(status), found=found, held=found == status)


def _decision_checks(scenario: Scenario, decisions: Sequence[Decision], policy: Policy | None) -> Iterator[Check]:
    by_step = {decision.step: decision for decision in decisions}
    for step, expected in scenario.expect.decisions.items():
        found = by_step.get(step)
        answer = found.answer if found else "not decided"
        yield Check(about=f"decision on {step}", expected=str(expected.answer), found=answer, held=answer == expected.answer)
        if found is not None:
            yield from _manner(step, expected, found, policy)


def _manner(step: StepId, expected: ExpectedDecision, found: Decision, policy: Policy | None) -> Iterator[Check]:
    if expected.within is not None:
        limit, took = f"within {format_duration(expected.within)}", f"after {_rounded(found.took)}"
        yield Check(about=f"time to decide on {step}", expected=limit, found=took, held=found.took <= expected.within)
    if expected.by is not None and policy is not None:
        held = found.by in policy.holders(expected.by)
        yield Check(about=f"who decides on {step}", expected=expected.by, found=found.by, held=held)


def _rounded(took: timedelta) -> str:
    return format_duration(timedelta(seconds=round(took.total_seconds(), 1)))


def to_markdown(result: Score) -> str:
    """Write a score as Markdown: the verdict, the decisions, the expectations. Ends with a line feed."""
    verdict = "everything held" if result.passed else f"{result.held} of {len(result.checks)} expectations held"
    lines = [f"# Drill {result.scenario}", "", _cell(result.title), ""]
    lines += [f"{result.run or 'The run'} ended {result.end or 'not yet'} after {_rounded(result.took)}; {verdict}.", ""]
    lines += ["## Decisions", ""]
    if result.decisions:
        lines += ["| step | decision | by | after | asked |", "|---|---|---|---|---|"]
        lines += [
            f"| {_cell(each.step)} | {each.answer} | {_cell(each.by)} | {_rounded(each.took)} | {_times(each.rounds)} |"
            for each in result.decisions
        ]
    else:
        lines.append("Nobody was asked to decide.")
    if result.checks:
        lines += ["", "## Expectations", "", "| about | expected | found | held |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(each.about)} | {_cell(each.expected)} | {_cell(each.found)} | {'yes' if each.held else '**no**'} |"
            for each in result.checks
        ]
    return "\n".join([*lines, ""])


def _times(rounds: int) -> str:
    return "once" if rounds == 1 else f"{rounds} times"


def _cell(text: str) -> str:
    """Keep foreign text from ending a table's cell or adding markup."""
    plain = " ".join(text.split())
    for mark in "\\`*_[]<>|":
        plain = plain.replace(mark, f"\\{mark}")
    return plain
