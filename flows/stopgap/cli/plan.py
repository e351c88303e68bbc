"""`stopgap plan`: what a run would change now. Nothing is changed: this process is guarded before it reads anything."""

from __future__ import annotations

import json

import click

from stopgap.cli import asking, examples
from stopgap.clock import SystemClock
from stopgap.plan import explain, parameters
from stopgap.problems import Exit

EXAMPLES = examples.lines(
    ("stopgap plan checkout-latency", "with every parameter's default"),
    ("stopgap plan checkout-latency -p replicas=5", "with another number of replicas"),
    ("stopgap plan checkout-latency --json", "for a program"),
)


@click.command(epilog=EXAMPLES)
@click.argument("runbook")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter; repeat for more.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(*, runbook: str, given: tuple[str, ...], as_json: bool) -> int:
    """Read the live systems and print what each step of RUNBOOK would change: now and after, who checked it, who would be asked.

    Every branch is planned, whatever its condition. Exit codes: 0, or 1 when a step could not run as things are.
    """
    from stopgap.actions import guard
    from stopgap.cli import planview
    from stopgap.plan import build

    found = asking.runbook(runbook)
    values = parameters.check(found, parameters.read(found, given))
    policy = asking.policy(found)
    guard.forbid_changes()
    plan = build.plan(found, values, policy=policy, clock=SystemClock())
    if as_json:
        click.echo(json.dumps(explain.as_json(plan), indent=2, default=str))
    else:
        planview.show(plan)
    return Exit.FAILED if plan.is_refused else Exit.DONE
