"""uvicorn's HTTP protocol with two more limits: a head of a request must come within some seconds, and be of a bearable length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

WITHIN = 10.0  # seconds
MOST_BYTES = 65_536  # of a head; httptools itself has no limit


class Protocol(HttpToolsProtocol):
    """Closes a connection on which a head is awaited, or begun and not ended, for ten seconds. Between two requests uvicorn's keep-alive limit counts."""

    _patience: asyncio.TimerHandle | None = None
    _is_in_head = False
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on, and close what never comes to its point."""
        super().data_received(data)
        if self._is_in_head:
            self._unread += len(data)
            if self._unread > MOST_BYTES:
                self._close()

    def on_message_begin(self) -> None:
        """Wait for the end of the head."""
        super().on_message_begin()
        self._is_in_head, self._unread = True, 0
        self._wait()

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._is_in_head = False
        self._rest()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._rest()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(WITHIN, self._close)

    def _rest(self) -> None:
        if self._patience:
            self._patience.cancel()
        self._patience = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
