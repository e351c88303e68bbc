"""Sends one message to one address by apprise, within a time, and says why it could not, without the address."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from stopgap.notices import addresses
from stopgap.timeline.redact import Redaction

if TYPE_CHECKING:
    from datetime import timedelta

_LOGGERS = ("apprise", "urllib3", "requests")  # they write addresses, and an address may be a secret
_SAID = 200
# Texts come from alerts and people; in a chat these would call everybody.
_CALLS = re.compile(r"@(?=everyone|here|channel|all)|<(?=[!@#])")


def deliver(address: str, *, title: str, body: str, within: timedelta) -> str:
    """Send; return why it failed, empty when it was taken. What hangs longer than `within` counts as failed."""
    said: list[str] = []
    thread = threading.Thread(target=_send, args=(address, title, body, said), daemon=True)
    thread.start()
    thread.join(within.total_seconds())
    if thread.is_alive():
        return f"no answer within {within.total_seconds():g} s"
    return said[0] if said else "it ended without a word"


def _send(address: str, title: str, body: str, said: list[str]) -> None:
    try:
        said.append(_notify(address, title, body))
    except Exception as error:  # noqa: BLE001  some plugin's bug must not end the worker's thread
        said.append(_hidden(address, f"{type(error).__name__}: {error}"))


def _notify(address: str, title: str, body: str) -> str:
    import apprise

    _hush()
    asset: Any = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY, async_mode=False, app_id="stopgap", app_desc="stopgap"
    )
    sender = apprise.Apprise(asset=asset)
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    try:
        if not sender.add(address):
            return "apprise does not know this kind of address (https://appriseit.com)"
        if sender.notify(title=_CALLS.sub(_calmed, title), body=_CALLS.sub(_calmed, body), body_format=apprise.NotifyFormat.TEXT):
            return ""
    finally:
        logger.removeHandler(heard)
    return _hidden(address, heard.first) or "it was not taken"


def _calmed(found: re.Match[str]) -> str:
    return f"{found[0]}\u200b"


def _hidden(address: str, text: str) -> str:
    return Redaction(addresses.secrets(address)).text(" ".join(text.split()))[:_SAID]


def _hush() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).propagate = False


class _Heard(logging.Handler):
    """Keeps the first warning of the thread it was made in."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if it is ours."""
        if not self.first and record.thread == self._thread:
            self.first = record.getMessage()
