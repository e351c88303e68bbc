"""What the beginning, the change and the end of an alert's episode do to its incident and its run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stopgap.actions import registry
from stopgap.alerts import grouping, storm
from stopgap.alerts.episodes import Meaning
from stopgap.alerts.model import Status
from stopgap.clock import format_duration, format_time
from stopgap.engine import journal
from stopgap.incidents import fold
from stopgap.incidents.model import LATE, IncidentId, Mode, Run, RunEnd, Stage
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy.alerting import AlertRules
from stopgap.policy.model import Severity
from stopgap.timeline.entry import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from stopgap.alerts.match import Matched
    from stopgap.alerts.model import Alert
    from stopgap.alerts.storm import Storm
    from stopgap.clock import Clock
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Entry, Timeline
    from stopgap.timeline.intake import Episode

START, PROPOSE, NOTHING = "start", "propose", "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """An episode that begins: the one before it, and what the runbooks say to it."""

    policy: Policy
    last: Episode | None
    episode: Episode
    alert: Alert
    found: Matched
    remark: str = ""

    @property
    def severity(self) -> Severity:
        """Policy's word for the source's, otherwise the runbook's, otherwise SEV3."""
        mapped = mapped_severity(self.policy, self.alert)
        return mapped or (self.found.best.runbook.severity if self.found.best else Severity.SEV3)


def rules_of(policy: Policy) -> AlertRules:
    """Return what policy says of alerts."""
    return policy.alerts or AlertRules()


def stale_after(policy: Policy, source: str) -> timedelta:
    """Return after how long without a word an episode of this source is over."""
    rules = rules_of(policy)
    named = rules.sources.get(source)
    return (named.stale_after if named else None) or rules.stale_after


def mapped_severity(policy: Policy, alert: Alert) -> Severity | None:
    """Return what policy calls the source's severity; None when it does not say."""
    source = rules_of(policy).sources.get(alert.source)
    return source.severities.get(alert.severity) if source else None


def open_episode(timeline: Timeline, clock: Clock, opening: Opening, *, pointer: Mapping[str, Any]) -> tuple[Episode, Run | None]:
    """Open the incident, say what is started or why nothing is, and ask for the run. Done again, it finds what it did."""
    key = f"alert.opened/{opening.episode.key}"
    entry = timeline.find(key) or _opened(timeline, clock, opening, key)
    episode = replace(opening.episode, incident=entry.incident, severity=entry.data["severity"], run=opening.episode.run)
    best = opening.found.best
    if entry.data["decision"] == NOTHING or best is None or opening.found.parameters is None:
        return episode, None
    run = request_run(
        timeline,
        incident=IncidentId(entry.incident),
        runbook=best.runbook,
        parameters=opening.found.parameters,
        mode=Mode.LIVE,
        starter="stopgap",
        key=opening.episode.key,
        alert=pointer,
        proposed=entry.data["why"] if entry.data["decision"] == PROPOSE else "",
        expires=best.trigger.expires or LATE,
    )
    return episode, run


def note(timeline: Timeline, policy: Policy, episode: Episode, alert: Alert, meaning: Meaning) -> Episode:
    """Note on the incident what is news of an episode that has begun: it got worse, was acknowledged, or fires although it was said to be over."""
    if meaning is Meaning.LATE:
        text = f"{alert.title}: {alert.source} says that it fires, from before it said that it was over. Nothing is started for it."
        _append(timeline, episode, "alert.changed", text, key=f"alert.late/{episode.key}", alert=alert)
    elif alert.status is Status.ACKNOWLEDGED:
        text = f"{alert.title}: acknowledged at {alert.source}"
        _append(timeline, episode, "alert.changed", text, key=f"alert.acknowledged/{episode.key}", alert=alert)
    elif alert.status is Status.UNKNOWN:
        text = f"{alert.title}: {alert.source} has no data for it now"
        _append(timeline, episode, "alert.changed", text, key=f"alert.unknown/{episode.key}", alert=alert)
    elif meaning is Meaning.GOES_ON:
        return _worse(timeline, policy, episode, alert)
    return episode


def close(timeline: Timeline, episode: Episode, alert: Alert) -> None:
    """Note the end, and end the run that this episode asked for, unless it has begun to change something."""
    run = fold.run(timeline.of_run(episode.run)) if episode.run else None
    mine = run if run and run.key == episode.key and run.end is None else None
    follows = ""
    if mine and not _has_changed_something(mine):
        follows = f" {mine.id} had changed nothing yet, and ends."
    elif mine:
        follows = f" {mine.id} has begun to change things, and goes on."
    if episode.incident:
        text = f"{alert.title}: over, says {alert.source}.{follows}"
        _append(timeline, episode, "alert.resolved", text, key=f"alert.resolved/{episode.key}", alert=alert)
        _mitigated(timeline, IncidentId(episode.incident))
    if mine and not _has_changed_something(mine):
        journal.abort_asked(timeline, mine, actor="stopgap", why=f"the alert is over, says {alert.source}, and nothing had been changed")


def _mitigated(timeline: Timeline, incident: IncidentId) -> None:
    """When the last alert of an incident is over, its effect on users is taken to be."""
    entries = timeline.of_chain(incident)
    found = fold.incident(entries)
    if found is None or found.firing or found.stage in {Stage.MITIGATED, Stage.RESOLVED, Stage.REVIEWED}:
        return
    count = sum(entry.kind == "alert.opened" for entry in entries)
    text = "Mitigated: every alert of this incident is over"
    draft = Draft(
        chain=incident,
        incident=incident,
        kind="incident.mitigated",
        actor="stopgap",
        text=text,
        key=f"incident.mitigated/{incident}/{count}",
    )
    timeline.append(draft)


def _opened(timeline: Timeline, clock: Clock, opening: Opening, key: str) -> Entry:
    now = clock.now()
    alert, severity = opening.alert, opening.severity
    group = rules_of(opening.policy).group
    incident, raging, related = _same_incident(timeline, opening, now=now), None, ""
    if incident is None and (found := grouping.find(timeline, group, alert.labels, now=now)):
        best = opening.found.best
        incident, related = found, grouping.held(timeline, group, found, best.runbook.name if best else "", now=now)
    if incident is None:
        raging = storm.look(timeline, rules_of(opening.policy).storm, now=now)
        incident = raging.incident if raging else _new_incident(timeline, opening)
    else:
        raging = storm.current(timeline)
    decision, why = _decide(timeline, opening, raging, related=related, now=now)
    runbook = opening.found.best.runbook.name if opening.found.best else ""
    draft = Draft(
        chain=incident,
        incident=incident,
        kind="alert.opened",
        actor="stopgap",
        key=key,
        text=f"{alert.title} ({alert.source}) {'fires again' if opening.episode.number > 1 else 'fires'}: {_words(decision, runbook, why)}",
        data={
            "source": alert.source, "alert": alert.key, "episode": opening.episode.number, "severity": str(severity),
            "decision": decision, "runbook": runbook, "why": why, "url": alert.url, "labels": dict(alert.labels),
            "started": format_time(alert.started) if alert.started else "",
        },
    )  # fmt: skip
    return timeline.append(draft).entry


def _new_incident(timeline: Timeline, opening: Opening) -> IncidentId:
    alert, marks = opening.alert, opening.policy.incidents.restricts
    return open_incident(
        timeline,
        title=alert.title,
        severity=opening.severity,
        actor="stopgap",
        key=opening.episode.key,
        alert=alert.source,
        restricted=bool(marks) and all(alert.labels.get(name) == value for name, value in marks.items()),
    )


def _same_incident(timeline: Timeline, opening: Opening, *, now: datetime) -> IncidentId | None:
    """Return the incident of the episode before, when this is the same trouble again: it is still open, or the cooldown is not over."""
    last = opening.last
    if last is None or not last.incident or last.closed_at is None:
        return None
    before = fold.find_incident(timeline, last.incident)
    rules = stale_after(opening.policy, opening.alert.source)
    if before.resolved_at is None and now - last.closed_at <= rules:
        return before.id
    best = opening.found.best
    cooldown = best.trigger.cooldown if best else None
    return before.id if cooldown is not None and now - last.closed_at <= cooldown else None


def _decide(timeline: Timeline, opening: Opening, raging: Storm | None, *, related: str, now: datetime) -> tuple[str, str]:
    """Say whether the run starts, is proposed, or nothing happens; and why."""
    found, alert = opening.found, opening.alert
    if found.best is None or found.parameters is None:
        return NOTHING, found.why_not
    trigger = found.best.trigger
    raging_words = f"too many incidents began at once ({raging.incident}); a person decides" if raging else ""
    held = raging_words or related or _held(timeline, opening, cooldown=trigger.cooldown, now=now)
    if held:
        return NOTHING, held
    if trigger.expires is not None and alert.started is not None and now - alert.started > trigger.expires:
        age = format_duration(now.replace(microsecond=0) - alert.started.replace(microsecond=0))
        return PROPOSE, f"the alert is {age} old, and expires after {format_duration(trigger.expires)}"
    if trigger.mode == "propose":
        return PROPOSE, "its trigger proposes and does not start"
    return START, ""


def _held(timeline: Timeline, opening: Opening, *, cooldown: timedelta | None, now: datetime) -> str:
    """Say why the run of an earlier episode keeps this one from starting another; empty when it does not."""
    run = fold.run(timeline.of_run(opening.last.run)) if opening.last and opening.last.run else None
    if run is None:
        return ""
    if run.end is None:
        return f"{run.id} is still going on"
    if cooldown is not None and run.end is RunEnd.DONE and run.ended_at and now - run.ended_at <= cooldown:
        return f"{run.id} ended well less than {format_duration(cooldown)} ago"
    return ""


def _words(decision: str, runbook: str, why: str) -> str:
    if decision == START:
        return f"{runbook} starts"
    if decision == PROPOSE:
        return f"{runbook} waits for somebody to agree, because {why}"
    return f"{runbook} is not started: {why}" if runbook else f"nothing is started: {why}"


def _worse(timeline: Timeline, policy: Policy, episode: Episode, alert: Alert) -> Episode:
    """Raise the incident's severity with the alert's; it is never lowered by an alert."""
    mapped = mapped_severity(policy, alert)
    if mapped is None or not episode.severity or mapped >= Severity(episode.severity):
        return episode
    incident = fold.find_incident(timeline, episode.incident)
    if mapped < incident.severity:
        text = f"{alert.title}: {alert.severity} now, says {alert.source}; {incident.id} is {mapped}, not {incident.severity} any more"
        _append(timeline, episode, "incident.severity", text, key=f"alert.worse/{episode.key}/{mapped}", alert=alert, severity=str(mapped))
    return replace(episode, severity=str(mapped))


def _has_changed_something(run: Run) -> bool:
    return any(step.attempt and registry.load(step.uses).effect == "changes" for step in run.steps.values())


def _append(timeline: Timeline, episode: Episode, kind: str, text: str, *, key: str, alert: Alert, **data: Any) -> None:  # noqa: PLR0913  an entry's parts
    draft = Draft(
        chain=episode.incident, incident=episode.incident, kind=kind, actor="stopgap", text=text, key=key,
        data={"source": alert.source, "alert": alert.key, "episode": episode.number, **data},
    )  # fmt: skip
    timeline.append(draft)
