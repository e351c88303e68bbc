"""The embedded Prefect server's own process: `python -m stopgap.engine.prefect_server FD`, serving on a socket that is already bound.

`stopgap.engine.server` starts it. The socket is inherited, so that nobody can take the port between choosing and serving it.
"""

from __future__ import annotations

import socket
import sys

from stopgap.engine import lifeline


def main(listening: int) -> None:
    """Serve Prefect's API, UI and background services until SIGTERM."""
    lifeline.hold()
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    api = get_current_settings().server.api
    config = uvicorn.Config(
        create_app(final=True),
        timeout_keep_alive=api.keepalive_timeout,
        timeout_graceful_shutdown=2,  # event websockets never end by themselves
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
