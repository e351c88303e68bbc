"""Waiting until a change is done. Its request has left: whatever happens now, it is done, failed for a reason, or in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.actions.aws import errors
from stopgap.actions.contract import InDoubtError, PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.actions.aws.client import Api

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two looks
GRACE = 15.0  # seconds for which an obstacle must stand before it counts: AWS tries again by itself


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change is: `text` for people, and what stands in its way, if anything. A `verdict` ends the wait at once: it failed."""

    is_done: bool
    text: str
    obstacle: str = ""
    verdict: str = ""


def wait(api: Api, look: Callable[[], Progress], *, what: str) -> Progress:
    """Look until it is done. PermanentError: it cannot be done, and why. InDoubtError: the deadline passed. AWS being away is waited for."""
    clock, pause, seen = api.context.clock, FIRST_PAUSE, "nothing was seen of it yet"
    obstacle, since = "", clock.monotonic()
    while True:
        try:
            now = look()
        except TemporaryError as error:
            seen = f"{seen}; then: {error}"[:500]
        else:
            seen = now.text
            if now.is_done:
                return now
            if now.verdict:
                raise PermanentError(f"{what}: {seen}, and it cannot go on: {now.verdict}")
            since = since if now.obstacle == obstacle else clock.monotonic()
            obstacle = now.obstacle
            if obstacle and clock.monotonic() - since >= GRACE:
                raise PermanentError(f"{what}: {seen}, and it cannot go on: {obstacle}")
        if api.context.seconds_left() <= pause:
            raise InDoubtError(f"{what}: the step's deadline passed before it was done ({seen}).")
        clock.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.5)


def waiter(api: Api, name: str, *, what: str, **arguments: Any) -> None:
    """Wait with one of botocore's waiters, `service:waiter`, until it says it is done; the errors are those of `wait`."""
    service, kind = name.split(":")

    def look() -> Progress:
        from botocore import exceptions

        try:
            api.client(service, tries=1).get_waiter(kind).wait(**arguments, WaiterConfig={"Delay": 1, "MaxAttempts": 1})
        except exceptions.WaiterError as error:
            return _of_waiter(error)
        except Exception as error:
            raise errors.translated(errors.Request(name, api.access, may_change=False), error) from error
        return Progress(is_done=True, text="done")

    wait(api, look, what=what)


def _of_waiter(error: Any) -> Progress:
    code = error.last_response.get("Error", {}).get("Code", "") if isinstance(error.last_response, dict) else ""
    if "Max attempts exceeded" in str(error):
        return Progress(is_done=False, text="AWS is still at it")
    return Progress(is_done=False, text=f"AWS says {code}" if code else "it failed", verdict=str(error))
