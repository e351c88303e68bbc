"""One HTTP request and its answer, within a time that nothing makes longer, and told apart: never sent, answered, or nobody knows."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx

from stopgap.actions.contract import InDoubtError, PermanentError, TemporaryError
from stopgap.actions.transports import http_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Context

MOST = 1_000_000  # bytes of an answer that are read
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of whom. `json` and `text` are the body; at most one of them is given.

    `reading` names an entry of `guard.READING_POSTS`: what is sent only reads, although it goes out as a POST.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    json: Any = None
    text: str | bytes | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    reading: str = ""

    def __str__(self) -> str:
        """Render for people: `POST https://api.example.com/flush`."""
        return f"{self.method} {self.url}"

    @property
    def changes(self) -> bool:
        """It may change something."""
        return self.method not in {"GET", "HEAD"} and not self.reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `location` is where a redirect points, which is never followed."""

    status: int
    text: str
    location: str = ""
    retry_after: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> Any:
        """The answer as JSON; as text when it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text


def ask(context: Context, question: Question, *, seconds: float) -> Answer:
    """Send it once. PermanentError or TemporaryError when nothing was sent; InDoubtError when it was sent, may change something, and no answer came."""
    with _Cutter(seconds) as cutter, http_client(context) as client:
        try:
            request = client.build_request(
                question.method,
                question.url,
                headers=dict(question.headers),
                params=dict(question.params) or None,
                json=question.json,
                content=question.text,
                timeout=max(0.001, seconds),
                extensions={"trace": cutter.watch, "reading": question.reading},
            )
            response = client.send(request, stream=True)
            answer = _read(response)
        except httpx.InvalidURL as error:
            raise PermanentError(f"{question}: nothing was sent ({error}).") from error
        except _NEVER_SENT as error:
            raise TemporaryError(f"{question}: nothing was sent ({_why(error)}).") from error
        except httpx.TransportError as error:
            raise _lost(question, f"no answer within {seconds:.3g} s" if cutter.has_cut else _why(error)) from error
        if cutter.has_cut:
            raise _lost(question, f"no whole answer within {seconds:.3g} s")
    return answer


def _read(response: httpx.Response) -> Answer:
    body = b""
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MOST:
            break
    text = body[:MOST].decode(response.charset_encoding or "utf-8", errors="replace")
    headers = response.headers
    return Answer(
        status=response.status_code,
        text=text,
        location=headers.get("location", ""),
        retry_after=headers.get("retry-after", ""),
        headers=dict(headers),
    )


def _lost(question: Question, why: str) -> TemporaryError | InDoubtError:
    if question.changes:
        return InDoubtError(f"{question}: it was sent, and what became of it is not known ({why}).")
    return TemporaryError(f"{question}: {why}.")


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Cutter:
    """Cuts the connection when time is up: a client's own timeout begins anew with every byte that comes."""

    def __init__(self, seconds: float) -> None:
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(max(0.0, seconds), self._cut)
        self._timer.daemon = True
        self.has_cut = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, event: str, details: Mapping[str, Any]) -> None:
        """Learn of a new connection, as httpx's extension "trace" tells it."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = details["return_value"].get_extra_info("socket")
            if self.has_cut:
                self._cut()

    def _cut(self) -> None:
        self.has_cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
