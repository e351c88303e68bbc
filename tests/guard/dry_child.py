"""A process of a dry run: it is guarded, then it plans and tries to apply each action that standard input names, and says what came of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from stopgap.actions import guard
from stopgap.actions.contract import Change, Context
from stopgap.clock import SystemClock
from stopgap.plan import build, prepare
from stopgap.policy import load as policies
from stopgap.problems import StopgapError
from stopgap.runbook import load as runbooks


def tried(path: str, parameters: dict[str, str], policy: Any) -> dict[str, str]:
    clock = SystemClock()
    runbook = runbooks.load(Path(path))
    step = build.plan(runbook, parameters, policy=policy, clock=clock).steps[0]
    assert runbook.steps[0].call
    action = prepare.action(
        runbook, runbook.steps[0].call, prepare.names(parameters=parameters, steps={}, incident={"id": "INC-1"}, run={"id": "INC-1.1"})
    )
    deadline = clock.now() + timedelta(seconds=20)
    context = Context(policy=policy, clock=clock, deadline=deadline, mark="INC-1.1/act/1", mode="dry")
    change = step.change or Change(summary="made up", now={"x": 1}, after={"x": 2})
    said = {"effect": action.effect, "plan": step.refused or step.not_planned, "apply": "nothing"}
    if action.effect == "reads":
        return said
    try:
        action.apply(context, change if not change.is_empty else replace(change, after={"x": "another"}))
    except (StopgapError, guard.DryRunViolation) as error:
        said["apply"] = f"{type(error).__name__}: {error}"
    return said


if __name__ == "__main__":
    guard.forbid_changes()
    POLICY = policies.load(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({each["action"]: tried(each["path"], each["parameters"], POLICY) for each in json.load(sys.stdin)}))
