"""The policy and the runbooks of the folder, read again when a file changes. A mistake in one leaves what was read before in force."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from stopgap.alerts import sources
from stopgap.engine import watching
from stopgap.engine.intake import Rules
from stopgap.policy import load as policies
from stopgap.policy.alerting import AlertRules, NoSecretError
from stopgap.policy.model import Policy
from stopgap.problems import ProblemsError
from stopgap.runbook import load

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.policy.alerting import Source

LOG = logging.getLogger("stopgap.intake")
LOOK_EVERY = 2.0  # seconds


class Watched:
    """The rules of a folder. Safe in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: watching.Fingerprint | None = None
        self._looked = 0.0
        self._rules = Rules(policy=Policy(), runbooks={})
        self.trouble = ""  # what is wrong with policy.yaml, in a sentence

    def __call__(self) -> Rules:
        """Return what holds now."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_EVERY or self._seen is None:
                self._look()
                self._looked = time.monotonic()
            return self._rules

    def source(self, name: str) -> Source | None:
        """Return a source that policy names."""
        return (self().policy.alerts or AlertRules()).sources.get(name)

    def sources(self) -> tuple[str, ...]:
        """Return the names of all sources."""
        return tuple((self().policy.alerts or AlertRules()).sources)

    def _look(self) -> None:
        seen = watching.fingerprint(self._folder)
        if seen == self._seen:
            return
        self._seen = seen
        runbooks, problems = load.load_sound(self._folder)
        for file in sorted({problem.file for problem in problems}):
            LOG.warning("%s has mistakes and is left out; see  stopgap lint %s", file, file)
        self._rules = Rules(policy=self._policy(), runbooks=runbooks)

    def _policy(self) -> Policy:
        path = policies.find(self._folder)
        if path is None:
            self.trouble = f"There is no {policies.FILE} in {self._folder}, so nobody may send alerts."
            return Policy()
        try:
            policy = policies.load(path)
        except ProblemsError as error:
            self.trouble = f"{path} has mistakes; what held before holds. See  stopgap lint {path}"
            LOG.warning("%s\n%s", self.trouble, error)
            return self._rules.policy
        self.trouble = ""
        for source in (policy.alerts or AlertRules()).sources.values():
            _mention(source)
        return policy


def _mention(source: Source) -> None:
    """Say at once what would otherwise be found out by the first alert."""
    if source.secret is None and source.kind not in sources.SIGNED:
        LOG.warning("%s is open: anybody who reaches /alerts/%s may start runbooks", source.name, source.name)
    try:
        if source.secret:
            source.secret.values()
    except NoSecretError as error:
        LOG.warning("Deliveries of %s are refused: %s", source.name, error)
