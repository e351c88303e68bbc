"""The only way out to AWS: botocore asks this handler to send each request. Nothing of the user's environment (proxies) is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.actions import guard
from stopgap.actions.aws import reads
from stopgap.actions.contract import LONGEST_CALL, TemporaryError

if TYPE_CHECKING:
    from stopgap.actions.contract import Context

# Seconds for one request, if the step's deadline allows so much.
LONGEST_READ, LONGEST_WRITE = 10.0, LONGEST_CALL.total_seconds()


class Transport:
    """Sends the requests of one client. botocore emits `before-send.<service>.<Operation>` and takes what this returns for the answer."""

    def __init__(self, context: Context, service: str) -> None:
        self._context = context
        self._service = service
        self._session: Any = None
        self._patience = 0.0

    def __call__(self, request: Any, event_name: str, **_: object) -> Any:
        """Check, then send; the connection is made inside the guard's passage, and the answer is read there too."""
        operation = f"{self._service}:{event_name.rsplit('.', 1)[-1]}"
        if self._context.is_dry:
            reads.check(operation, request.body)
        left = self._context.seconds_left()
        if left <= 0:
            raise TemporaryError(f"{operation}: the step's deadline has passed; nothing was sent.")
        changes = reads.may_change(operation, request.body)
        patience = self._context.sending(LONGEST_WRITE) if changes else min(left, LONGEST_READ)
        with guard.passage():
            answer = self._within(patience).send(request)
            answer.content  # noqa: B018  reads the body while the passage is open
        return answer

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()

    def _within(self, seconds: float) -> Any:
        # A session's timeout is fixed: a new one is made when this request may take less or much more time than the last one.
        if self._session is None or not seconds >= self._patience >= min(seconds, LONGEST_READ):
            from botocore.httpsession import URLLib3Session

            self.close()
            self._session, self._patience = URLLib3Session(verify=True, proxies={}, timeout=(min(seconds, LONGEST_READ), seconds)), seconds
        return self._session
