"""Which flow runs this home's worker has taken, on disk: whoever comes after a crash knows which runs have nobody to execute them.

A claim is written before the run is taken in Prefect and removed when the run has ended or suspended. Prefect itself would show a run whose
worker was killed as Running for ever.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from stopgap.engine import server

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run in our hands. `crashes` counts how often in a row its process died; `is_handed_back` that Prefect schedules it again.

    `token` is also in the message of the Pending state with which the run was taken: it tells our run from one that another worker took. And it
    is the name under which the run's process has its lease, so that the lease of one known to be dead can be given back.
    """

    flow_run: UUID
    token: str = ""
    crashes: int = 0
    is_handed_back: bool = False


class Claims:
    """The claims of one home. One worker at a time uses them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._claims = {claim.flow_run: claim for claim in map(_read, folder.glob("*.json")) if claim}

    def take(self, flow_run: UUID) -> Claim:
        """Write down that we are about to execute this run."""
        known = self._claims.get(flow_run, Claim(flow_run=flow_run))
        return self._write(replace(known, token=secrets.token_hex(8), is_handed_back=False))

    def hand_back(self, claim: Claim, *, crashes: int) -> None:
        """Write down that Prefect schedules the run again, after so many crashes in a row."""
        self._write(replace(claim, crashes=crashes, is_handed_back=True))

    def drop(self, flow_run: UUID) -> None:
        """The run needs nobody any more."""
        self._claims.pop(flow_run, None)
        (self._folder / f"{flow_run}.json").unlink(missing_ok=True)

    def in_hand(self) -> tuple[Claim, ...]:
        """Return the runs that somebody here should be executing."""
        return tuple(claim for claim in self._claims.values() if not claim.is_handed_back)

    def _write(self, claim: Claim) -> Claim:
        self._claims[claim.flow_run] = claim
        server.write_private(self._folder / f"{claim.flow_run}.json", {**asdict(claim), "flow_run": str(claim.flow_run)})
        return claim


def _read(path: Path) -> Claim | None:
    """Read a claim; of one that cannot be read only the run is known, from its file's name."""
    try:
        flow_run = UUID(path.stem)
    except ValueError:
        return None
    try:
        data = json.loads(path.read_text())
        return Claim(flow_run=flow_run, token=str(data["token"]), crashes=int(data["crashes"]), is_handed_back=bool(data["is_handed_back"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Claim(flow_run=flow_run)
