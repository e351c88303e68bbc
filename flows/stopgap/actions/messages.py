"""Sends one message to one address by apprise, within a time, and says why it could not, without the address."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stopgap.policy import addresses
from stopgap.redact import Redaction

if TYPE_CHECKING:
    from datetime import timedelta

_LOGGERS = ("apprise", "urllib3", "requests")  # they write addresses, and an address may be a secret
_SAID = 200
_here = threading.local()
# apprise's words for what its library raised, and those of the libraries for a line that never came to be, or for a mail server's clear no.
_BROKEN = re.compile(r"(Socket|SMTP|Connection) ?Exception|Exception:", re.IGNORECASE)
_NEVER_MADE = re.compile(
    r"NewConnectionError|NameResolutionError|refused|Name or service not known|No route to host|ConnectTimeout|\(\d{3}, b"
)
# Texts come from alerts and people; in a chat these would call everybody.
_CALLS = re.compile(r"@(?=everyone|here|channel|all)|<(?=[!@#])")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was not taken. `may_have_left`: the line broke, and it may have arrived all the same."""

    why: str
    may_have_left: bool = False


def deliver(address: str, *, title: str, body: str, within: timedelta) -> str:
    """Send; return why it failed, empty when it was taken. What hangs longer than `within` counts as failed."""
    failure = attempt(address, title=title, body=body, within=within)
    return failure.why if failure else ""


def attempt(address: str, *, title: str, body: str, within: timedelta) -> Failure | None:
    """Send; return None when it was taken. What hangs longer than `within` may arrive later."""
    said: list[Failure | None] = []
    thread = threading.Thread(target=_send, args=(address, title, body, said), daemon=True)
    thread.start()
    thread.join(within.total_seconds())
    if thread.is_alive():
        return Failure(f"no answer within {within.total_seconds():g} s", may_have_left=True)
    return said[0] if said else Failure("it ended without a word", may_have_left=True)


def _send(address: str, title: str, body: str, said: list[Failure | None]) -> None:
    try:
        said.append(_notify(address, title, body))
    except Exception as error:  # noqa: BLE001  some plugin's bug must not end the worker's thread
        said.append(Failure(_hidden(address, f"{type(error).__name__}: {error}"), may_have_left=True))


def _notify(address: str, title: str, body: str) -> Failure | None:
    import apprise

    _hush()
    asset: Any = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY, async_mode=False, app_id="stopgap", app_desc="stopgap"
    )
    sender = apprise.Apprise(asset=asset)
    heard = _here.heard = _Heard()
    try:
        if not sender.add(address):
            return Failure("apprise does not know this kind of address (https://appriseit.com)")
        if sender.notify(title=_CALLS.sub(_calmed, title), body=_CALLS.sub(_calmed, body), body_format=apprise.NotifyFormat.TEXT):
            return None
    finally:
        _here.heard = None
    return Failure(_hidden(address, heard.first) or "it was not taken", may_have_left=heard.is_cut_off)


def _calmed(found: re.Match[str]) -> str:
    return f"{found[0]}\u200b"


def _hidden(address: str, text: str) -> str:
    return Redaction(addresses.secrets(address)).text(" ".join(text.split()))[:_SAID]


def _hush() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).propagate = False
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)  # only there does it say why a line broke
    logger.addFilter(_overhear)


def _overhear(record: logging.LogRecord) -> bool:
    heard = getattr(_here, "heard", None)
    if heard:
        heard.note(record)
    return False  # it goes nowhere else


class _Heard:
    """What one thread's sending said: its first warning, and whether a line broke that had been made."""

    def __init__(self) -> None:
        self.first = ""
        self.is_cut_off = False

    def note(self, record: logging.LogRecord) -> None:
        """Keep what matters of it."""
        said = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.first = self.first or said
        elif _BROKEN.search(said):
            self.is_cut_off = _NEVER_MADE.search(said) is None
