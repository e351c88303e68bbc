"""uvicorn's HTTP protocol with one more limit: a connection that does not say what it wants is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

WITHIN = 10.0  # seconds


class Protocol(H11Protocol):
    """Closes a connection whose first request has no complete head within ten seconds. Later ones have uvicorn's own keep-alive limit."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(WITHIN, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._patience:
            self._patience.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        is_silent = self.cycle is None  # h11's types say that there always is one
        if is_silent and not self.transport.is_closing():
            self.transport.close()
