"""From accepted alerts to incidents and runs, once, whoever does it: the receiver that accepted them, or a sweeper after its death.

A turn reads what a receiver accepted and nobody has acted on, and writes what follows. Everything it writes has a key made from the alert's
episode, so a turn that died is done again and finds its own entries; the rows that say how far it came move only when all is written.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap.alerts import episodes, match
from stopgap.alerts.episodes import Meaning
from stopgap.alerts.model import Alert
from stopgap.engine import alarm
from stopgap.timeline.store import TimelineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stopgap.clock import Clock
    from stopgap.incidents.model import Run
    from stopgap.policy.model import Policy
    from stopgap.runbook.model import Runbook
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.intake import Episode, Name, Turn
    from stopgap.timeline.store import PostgresTimeline

LOG = logging.getLogger("stopgap.intake")
LEFT_BEHIND = timedelta(seconds=5)  # what a receiver has accepted and not acted on for so long, somebody else acts on


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds now: the policy, and the runbooks that can be read."""

    policy: Policy
    runbooks: Mapping[str, Runbook]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One alert of one accepted delivery."""

    entry: Entry
    index: int
    alert: Alert

    @property
    def name(self) -> Name:
        """Which alert it is about."""
        return self.alert.source, self.alert.key

    @property
    def body(self) -> Any:
        """The whole delivery."""
        return self.entry.data["body"]

    @property
    def pointer(self) -> dict[str, Any]:
        """Where the run finds it again."""
        return {"entry": self.entry.key, "index": self.index}


@dataclass(slots=True)
class Intake:
    """Acts on accepted alerts. `rules` gives what holds at the moment, `hand_over` takes each run that was asked for, outside any turn."""

    timeline: PostgresTimeline
    clock: Clock
    rules: Callable[[], Rules]
    hand_over: Callable[[Run], None] = lambda _run: None
    _asked: list[Run] = field(default_factory=list, init=False)

    def work(self, chain: str) -> int:
        """Act on what a receiver's chain holds, a part of it when that is much; return how many deliveries. Not in two threads at once."""
        self._asked.clear()
        with self.timeline.intake.turn(chain) as turn:
            words = list(_words(turn.entries))
            found = dict(turn.episodes({word.name for word in words}))
            before = dict(found)
            for word in words:
                if (episode := self._take_safely(turn, found.get(word.name), word)) is not None:
                    found[word.name] = episode
            turn.keep([episode for name, episode in found.items() if episode != before.get(name)])
            done = len(turn.entries)
        for run in self._asked:
            self.hand_over(run)
        return done

    def sweep(self) -> None:
        """Act on what receivers left behind."""
        for chain in self.timeline.intake.behind(by=LEFT_BEHIND, now=self.clock.now()):
            while self.work(chain):
                pass

    def _take_safely(self, turn: Turn, last: Episode | None, word: Word) -> Episode | None:
        """One alert that cannot be acted on must not hold up the others: a person is told. What was accepted stays on the receiver's chain."""
        for plainly, then in ((False, "its incident says so"), (True, "it is left out")):
            try:
                return self._take(turn, last, word, plainly=plainly)
            except TimelineUnreachableError:
                raise
            except Exception:
                LOG.exception("alert %s of %s (%s) could not be acted on; %s", word.alert.key, word.alert.source, word.entry.key, then)
        return None

    def _take(self, turn: Turn, last: Episode | None, word: Word, *, plainly: bool) -> Episode | None:
        rules, at = self.rules(), word.entry.at
        meaning = episodes.judge(last, word.alert, at=at, stale_after=alarm.stale_after(rules.policy, word.alert.source))
        episode = episodes.after(last, word.alert, meaning, at=at)
        if episode is None:
            return None
        if meaning is Meaning.OPENS:
            turn.one_at_a_time()
            return self._open(rules, last, episode, word, plainly=plainly)
        if meaning is Meaning.CLOSES:
            alarm.close(self.timeline, episode, word.alert)
        elif episode.incident:
            return alarm.note(self.timeline, rules.policy, episode, word.alert, meaning)
        return episode

    def _open(self, rules: Rules, last: Episode | None, episode: Episode, word: Word, *, plainly: bool) -> Episode:
        found = match.Matched(looks=(), why_not="stopgap has a bug and cannot say what it would start; its log knows more")
        if not plainly:
            found = match.match(rules.runbooks, word.alert, body=word.body, delivery=word.entry.data["delivery"])
        opening = alarm.Opening(
            policy=rules.policy, last=last, episode=episode, alert=word.alert, found=found, remark=word.entry.data["remark"]
        )
        opened, run = alarm.open_episode(self.timeline, self.clock, opening, pointer=word.pointer)
        if run:
            self._asked.append(run)
        return replace(opened, run=run.id) if run else opened


def _words(entries: Sequence[Entry]) -> Iterator[Word]:
    for entry in entries:
        if entry.kind == "alert.received":
            for index, data in enumerate(entry.data["alerts"]):
                yield Word(entry=entry, index=index, alert=Alert.from_json(data))
