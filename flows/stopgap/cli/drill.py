"""`stopgap drill`: run a scenario without touching anything, and see how the decisions went."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stopgap import home
from stopgap.cli import asking, examples, starting
from stopgap.drills import scenario as scenarios
from stopgap.drills import score as scores
from stopgap.drills.scenario import Scenario
from stopgap.incidents.model import Mode
from stopgap.plan import parameters
from stopgap.problems import Exit, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from stopgap.incidents.model import Run
    from stopgap.timeline.entry import Timeline


EXAMPLES = examples.lines(
    ("stopgap drill checkout-latency-night", "a scenario, by its name"),
    ("stopgap drill checkout-latency", "a runbook; you say how each step ends"),
    ("stopgap drill checkout-latency-night --report drill.md", "keep the report"),
)


@click.command(epilog=EXAMPLES)
@click.argument("what", metavar="SCENARIO|RUNBOOK")
@click.option(
    "-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter, over those of the scenario; repeat for more."
)
@click.option(
    "--as", "person", metavar="PERSON", help="Who facilitates (an id of policy.yaml); otherwise STOPGAP_PERSON or your account's name."
)
@click.option("--report", type=click.Path(dir_okay=False, writable=True), help="Write the report to this file as well (Markdown).")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the score, as JSON, when the drill has ended.")
def command(*, what: str, given: tuple[str, ...], person: str | None, report: str | None, as_json: bool) -> int:
    """Run a drill: the same runbook, real reads, real questions to people, and nothing changed.

    SCENARIO is the name or the file of a drill; RUNBOOK is a runbook's name, for a drill in which the facilitator says how each step
    ends. Needs a running `stopgap up`. Ends with who decided what in which time, against what the scenario expects.

    Exit codes: 0 everything expected held, 1 something did not, 4 rejected or expired at a gate where that was not expected.
    """
    scenario = _find(what)
    runbook = asking.runbook(scenario.runbook)
    starting.refuse_secrets(runbook)
    values = parameters.check(runbook, {**scenario.parameters, **parameters.read(runbook, given)})
    policy = asking.policy(runbook)
    asked = starting.Asked(
        runbook=runbook,
        parameters=values,
        mode=Mode.DRILL,
        person=asking.me(person),
        given={str(step): str(status) for step, status in scenario.given.items()},
        scenario=scenario.name,
    )
    with starting.asked_for(asked) as (timeline, run):
        if not as_json:
            starting.announce(run)
        ended = asking.follow(timeline, run.incident, run.id, quiet=as_json)
        result = scores.score(scenario, timeline.of_run(run.id), policy=policy)
        text = scores.to_markdown(result)
        _record(timeline, run, scenario, text, passed=result.passed)
    click.echo(json.dumps(asdict(result), indent=2, default=_seconds) if as_json else f"\n{text}")
    if report:
        Path(report).write_text(text)
    return ended if not scenario.expect.end else Exit.DONE if result.passed else Exit.FAILED


def _seconds(took: timedelta) -> float:
    return took.total_seconds()


def _find(what: str) -> Scenario:
    folder = home.runbooks_folder()
    if what.endswith((".yaml", ".yml")):
        return _of_file(what)
    found, problems = scenarios.load_sound(folder)
    if what in found:
        return found[what]
    runbooks = asking.runbooks_by_name()
    asking.warn(problems)
    if what in runbooks:
        return Scenario(name=what, runbook=what, title=f"{runbooks[what].title} (without a scenario)", path=runbooks[what].path)
    known = [*found, *runbooks]
    near = difflib.get_close_matches(what, known, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"There are: {', '.join(known) or 'none'}."
    raise UsageError(f'There is no drill and no runbook "{what}" in {folder}. {hint}')


def _of_file(what: str) -> Scenario:
    path = Path(what)
    if not path.is_file():
        raise UsageError(f"There is no file {path}. Name a drill's file, or a drill or runbook by its name.")
    first = scenarios.load(path)
    return scenarios.load(path, runbook=asking.runbook(first.runbook))


def _record(timeline: Timeline, run: Run, scenario: Scenario, text: str, *, passed: bool) -> None:
    draft = run.draft(
        kind="drill.scored",
        actor="stopgap",
        text=f"Drill {scenario.name}: {'everything held' if passed else 'not everything held'}",
        key=f"drill.scored/{run.id}",
        data={"passed": passed, "report": text},
    )
    timeline.append(draft)
