"""The few calls to Prefect's REST API that verbs make, without importing Prefect: that takes two seconds, and somebody is waiting."""

from __future__ import annotations

import functools
import itertools
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stopgap.clock import format_time
from stopgap.problems import StopgapError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    import httpx

PATIENCE = 10.0  # seconds for one call
ENDS = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})  # types of states


class PrefectAwayError(StopgapError):
    """Prefect does not answer."""


class NotFoundError(StopgapError):
    """Prefect has no such thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun:
    """What Prefect says of a flow run: its state's type (PAUSED, RUNNING, ...), name, message and moment."""

    id: str
    state: str
    state_name: str
    message: str
    since: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Prefect will do nothing more with it."""
        return self.state in ENDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Prefect's API at `url`; `auth` is `user:password`, or empty."""

    url: str
    auth: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    @classmethod
    def of_environment(cls) -> Api:
        """Return the API that PREFECT_API_URL names, as `engine.server.use_current` sets it."""
        return cls(
            url=os.environ["PREFECT_API_URL"],
            auth=os.environ.get("PREFECT_API_AUTH_STRING", ""),
            key=os.environ.get("PREFECT_API_KEY", ""),
        )

    def deployment(self, flow: str, name: str) -> str:
        """Return the id of a flow's deployment."""
        return str(self._call("GET", f"/deployments/name/{flow}/{name}")["id"])

    def create_flow_run(self, deployment: str, body: Mapping[str, Any]) -> str:
        """Create a flow run, or get the one with the same idempotency key; return its id."""
        return str(self._call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def flow_run(self, flow_run: str) -> FlowRun:
        """Read a flow run."""
        found = self._call("GET", f"/flow_runs/{flow_run}")
        state = found.get("state") or {}
        return FlowRun(
            id=flow_run,
            state=state.get("type", ""),
            state_name=state.get("name", ""),
            message=state.get("message") or "",
            since=datetime.fromisoformat(state["timestamp"]) if state.get("timestamp") else None,
        )

    def ends(self, flow_run: str) -> int:
        """Return how often a flow run has ended so far. How often it began says less: it begins anew after every gate and every wait, too."""
        states = self._call("GET", f"/flow_run_states/?flow_run_id={flow_run}")
        return sum(is_end for is_end, _ in itertools.groupby(states, key=lambda state: state["type"] in ENDS))

    def reschedule(self, flow_run: str, *, name: str, at: datetime | None = None) -> None:
        """Let a flow run begin again, whatever its state; not before `at`, if that is given."""
        state: dict[str, Any] = {"type": "SCHEDULED", "name": name}
        if at:
            state["state_details"] = {"scheduled_time": format_time(at)}
        self._call("POST", f"/flow_runs/{flow_run}/set_state", {"state": state, "force": True})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        auth = httpx.BasicAuth(*self.auth.split(":", 1)) if ":" in self.auth else None
        try:
            with httpx.Client(verify=_trust(), auth=auth, headers=headers, timeout=PATIENCE) as client:
                answer = client.request(method, self.url + path, json=body)
        except httpx.HTTPError as error:
            raise PrefectAwayError(f"Prefect does not answer at {self.url} ({error}).") from error
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Any:
        if answer.status_code == 404:  # noqa: PLR2004  not found
            raise NotFoundError(f"Prefect at {self.url} knows no {answer.request.url.path}.")
        if answer.is_error:
            raise PrefectAwayError(f"Prefect at {self.url} answers {answer.status_code}: {answer.text[:300]}")
        return answer.json()


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return whom we trust. Reading the authorities takes 20 ms, which every call would pay, with somebody waiting for an alert's run."""
    import httpx

    return httpx.create_ssl_context()
