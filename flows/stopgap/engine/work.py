"""`Work`: one run being carried out: what it reads from, writes to and may do. Knows nothing of Prefect."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import Context
from stopgap.engine import hiding
from stopgap.incidents import fold
from stopgap.incidents.model import Mode, StepRecord
from stopgap.plan import build, prepare
from stopgap.timeline.leases import TakenOverError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action, Change
    from stopgap.clock import Clock
    from stopgap.engine.lease import Hold
    from stopgap.incidents.model import Run, RunId
    from stopgap.policy.model import ApprovalRules, Policy
    from stopgap.redact import Redaction
    from stopgap.runbook.model import Call, Runbook, Status, Step, StepId
    from stopgap.timeline.entry import Appended, Entry, Timeline

LOOK = timedelta(seconds=30)  # the longest that planning or probing one step waits for a system


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A run, its runbook, the policy that holds, and the timeline that is its memory.

    `hold` is this process's lease of the run; without one, as in tests of a single process, everything may be sent.
    """

    timeline: Timeline
    clock: Clock
    policy: Policy
    runbook: Runbook
    id: RunId
    mode: Mode
    parameters: Mapping[str, Any]
    hold: Hold | None = None
    _folded: fold.Folded = field(default_factory=fold.Folded, init=False, repr=False, compare=False)

    def run(self) -> Run:
        """Return the run as the timeline has it now."""
        return self._folded(self.entries()) or fold.find_run(self.timeline, self.id)

    def rules(self) -> ApprovalRules:
        """Return what holds for the gates of this run's incident, at the severity it has now."""
        return self.policy.rules(fold.find_incident(self.timeline, self.run().incident).severity)

    def entries(self) -> tuple[Entry, ...]:
        """Return the run's entries."""
        return self.timeline.of_run(self.id)

    def record(self, step: StepId) -> StepRecord:
        """Return what the journal says of a step."""
        return self.run().steps.get(step, StepRecord(id=step))

    def names(self) -> dict[str, Any]:
        """Return what expressions may read now."""
        run = self.run()
        incident = fold.find_incident(self.timeline, run.incident)
        return prepare.names(
            parameters=self.parameters,
            steps=run.steps,
            incident={"id": incident.id, "severity": str(incident.severity)},
            run={"id": run.id},
            alert=self._alert(run),
        )

    def _alert(self, run: Run) -> dict[str, Any] | None:
        """Return the alert that asked for the run as it was accepted, if one did."""
        entry = self.timeline.find(run.alert["entry"]) if run.alert else None
        if entry is None or run.alert is None:
            return None
        return {**entry.data["alerts"][run.alert["index"]], "delivery": entry.data["delivery"], "raw": entry.data["body"]}

    def action(self, call: Call) -> Action:
        """Render a call and build its action; the same call renders the same on re-entry, from what the journal recorded."""
        return prepare.action(self.runbook, call, self.names())

    def context(self, *, mark: str, within: timedelta) -> Context:
        """Return where an action works, with its deadline counted from now."""
        return Context(
            policy=self.policy,
            clock=self.clock,
            deadline=self.clock.now() + within,
            ends=self.clock.monotonic() + within.total_seconds(),
            mark=mark,
            mode="live" if self.mode is Mode.LIVE else "dry",
            permit=self.hold.permit if self.hold else float,
            origin=self._origin,
            preview=build.previews(self.runbook, policy=self.policy, clock=self.clock),
        )

    def _origin(self) -> str:
        """Return the hash of the incident's first entry: it is made with a key of this timeline."""
        return self.timeline.of_chain(self.run().incident)[0].hash

    def mark(self, step: StepId, attempt: int) -> str:
        """Return the mark that an attempt's effect carries."""
        return f"{self.id}/{step}/{attempt}"

    @property
    def secrets(self) -> Redaction:
        """What hides the values of the run's secret parameters."""
        return hiding.redaction(self.runbook, self.parameters)

    def write(self, kind: str, text: str, *, step: StepId | None = None, key: str = "", actor: str = "stopgap", **data: Any) -> Entry:
        """Append an entry of this run, without its secrets; with a `key`, return whoever's entry has it."""
        return self._append(kind, text, step=step, key=key, actor=actor, data=data).entry

    def _append(self, kind: str, text: str, *, step: StepId | None, key: str, actor: str, data: Mapping[str, Any]) -> Appended:  # noqa: PLR0913  an entry's parts
        run, secrets = self.run(), self.secrets
        draft = run.draft(
            step=step or "",
            kind=kind,
            actor=actor,
            text=secrets.text(text),
            key=key,
            data=hiding.hidden(secrets, data),
        )
        return self.timeline.append(draft)

    def planned(self, step: Step, action: Action, change: Change) -> None:
        """Journal what the step would change."""
        self.write("step.planned", change.summary, step=step.id, uses=action.name, change=change.to_json())

    def started(self, step: Step, action: Action, change: Change) -> int:
        """Journal, durably, that an attempt begins; return its number. TakenOverError when somebody else has just begun it."""
        attempt = self.record(step.id).attempt + 1
        key = f"step.started/{self.id}/{step.id}/{attempt}"
        data = {"attempt": attempt, "uses": action.name, "change": change.to_json(), "digest": change.digest}
        text = f"{step.name}: {change.summary}"
        if not self._append("step.started", text, step=step.id, key=key, actor="stopgap", data=data).won:
            raise TakenOverError(f"Another process carries {self.id} out, and has begun attempt {attempt} of {step.id}; this one stops.")
        return attempt

    def applied(self, step: Step, text: str, *, attempt: int, output: Mapping[str, Any]) -> None:
        """Journal that the effect happened."""
        key = f"step.applied/{self.id}/{step.id}/{attempt}"
        self.write("step.applied", text, step=step.id, key=key, attempt=attempt, output=dict(output))

    def retried(self, step: Step, text: str, *, attempt: int, excused: bool) -> None:
        """Journal that an attempt left no effect behind; an excused one does not count against `retry`."""
        key = f"step.retried/{self.id}/{step.id}/{attempt}"
        self.write("step.retried", text, step=step.id, key=key, attempt=attempt, excused=excused)

    def finished(self, step: Step, status: Status, text: str, *, ends: str = "", **data: Any) -> Status:
        """Journal how the step ended."""
        key = f"step.finished/{self.id}/{step.id}"
        entry = self.write("step.finished", text, step=step.id, key=key, status=str(status), ends=ends, **data)
        return type(status)(entry.data["status"])
