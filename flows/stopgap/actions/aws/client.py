"""One account of policy.yaml for one step: operations by their names, read or sent, with errors of the contract."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stopgap.actions.aws import credentials, errors, reads
from stopgap.actions.aws.credentials import TRIES
from stopgap.actions.contract import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.actions.contract import Context
    from stopgap.policy.model import AccountName

JSON = dict[str, Any]
_TOKENS = uuid.UUID("6f0e1a3e-8f57-4a52-9f0e-6d3c6a1b7c11")


@contextmanager
def connect(context: Context, account: AccountName) -> Iterator[Api]:
    """Open the account and close its connections in the end."""
    access = credentials.find(context, account)
    api = Api(context, access, credentials.session(context, access))
    try:
        yield api
    finally:
        api.close()


class Api:
    """Calls operations by the name that IAM has for them, like `ecs:UpdateService`."""

    def __init__(self, context: Context, access: credentials.Access, session: Any) -> None:
        self.context = context
        self.access = access
        self._session = session
        self._lines: dict[tuple[str, int], credentials.Line] = {}

    def close(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            line.transport.close()

    def read(self, operation: str, **arguments: Any) -> JSON:
        """Read something; it is asked again when no answer comes."""
        return self._call(operation, arguments, tries=TRIES)

    def all(self, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Read a list to its last page."""
        service, name = operation.split(":")
        request = errors.Request(operation, self.access, may_change=False)
        try:
            pages = self.client(service, tries=TRIES).get_paginator(_method(name)).paginate(**arguments)
            return list(pages.search(f"{key}[]"))
        except Exception as error:
            raise errors.translated(request, error) from error

    def send(self, operation: str, *, repeatable: bool = False, **arguments: Any) -> JSON:
        """Change something, once: an answer that got lost is InDoubtError.

        `repeatable`: the call is the same when it is made twice, because it carries a client token or says what shall be. It is then sent
        again when no answer came.
        """
        return self._call(operation, arguments, tries=TRIES if repeatable else 1)

    def client(self, service: str, *, tries: int) -> Any:
        """Return botocore's client of a service."""
        if (service, tries) not in self._lines:
            self._lines[service, tries] = credentials.line(self._session, self.context, self.access, service=service, tries=tries)
        return self._lines[service, tries].client

    def _call(self, operation: str, arguments: JSON, *, tries: int) -> JSON:
        service, name = operation.split(":")
        asks_dry_run = operation in reads.DRY_RUNS and arguments.get("DryRun") is True
        request = errors.Request(operation, self.access, may_change=operation not in reads.READS and not asks_dry_run)
        try:
            found: JSON = getattr(self.client(service, tries=tries), _method(name))(**arguments)
        except Exception as error:
            raise errors.translated(request, error) from error
        return found


def token(context: Context) -> str:
    """Return a client token made from run, step and attempt: the same attempt has the same one, in whatever process."""
    return str(uuid.uuid5(_TOKENS, context.mark))


def target(account: AccountName, *parts: str) -> Target:
    """Return the name under which runs lock something in an account: `aws/prod/autoscaling/web`."""
    return Target("/".join(("aws", account, *parts)))


def _method(operation: str) -> str:
    from botocore import xform_name

    return str(xform_name(operation))
