"""Each way out to another system asks for the run's lease right before something leaves that may change anything."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.awsrequest import AWSPreparedRequest

from stopgap.actions import programs, registry, sockets
from stopgap.actions.aws.transport import Transport
from stopgap.actions.contract import Context, TemporaryError
from stopgap.clock import SystemClock
from stopgap.policy.model import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class LostError(TemporaryError):
    """The lease is another's."""


def _refuse(seconds: float) -> float:
    raise LostError(f"not for {seconds:g} s, not at all")


@pytest.fixture
def context() -> Context:
    """The context of a step whose process lost its run."""
    clock = SystemClock()
    return Context(policy=Policy(), clock=clock, deadline=clock.now() + timedelta(minutes=1), mark="INC-1.1/step/1", permit=_refuse)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """A socket that nothing answers, and whether anybody has called there."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        listening.setblocking(False)

        def called() -> bool:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield str(tmp_path / "socket"), called


def test_a_line_to_a_runtime_socket(context: Context, runtime: tuple[str, Callable[[], bool]]) -> None:
    address, called = runtime
    with pytest.raises(LostError):
        sockets.ask(context, address, "set server web/a weight 1")
    assert not called()


def test_a_request_over_http(context: Context) -> None:
    step = registry.build("http.request", {"method": "POST", "url": "http://127.0.0.1:9/"})
    with pytest.raises(LostError):
        step.apply(context, step.plan(context))


def test_a_program(context: Context, tmp_path: Path) -> None:
    with pytest.raises(LostError):
        programs.run(context, ["/usr/bin/touch", str(tmp_path / "it-ran")])
    assert not (tmp_path / "it-ran").exists()


def test_a_request_to_aws(context: Context) -> None:
    request = AWSPreparedRequest("POST", "http://127.0.0.1:9/", {}, b"Action=RebootInstances&InstanceId.1=i-1", stream_output=False)
    with pytest.raises(LostError):
        Transport(context, "ec2")(request, "before-send.ec2.RebootInstances")
