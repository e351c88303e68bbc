"""`haproxy.*` on an haproxy that really runs, with load across the shift."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import carry_out, context_in
from fixtures_traffic import Front, Load, ask
from stopgap.actions.contract import ConflictError, InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.actions.haproxy import HaproxyDrain, HaproxyReady, HaproxyWeight, sessions
from stopgap.policy.model import Policy
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from pathlib import Path

AT_ONCE = {Probe.IN_PROGRESS: "the runtime socket answers when it is done"}
MIXED = "draining or not: there is no third state to find"


def state(front: Front) -> list[str]:
    """What the runtime says of the servers' weights and states."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(front.admin)
        connection.sendall(b"show servers state web\n")
        lines = connection.recv(65536).decode().splitlines()
    columns = lines[1].removeprefix("# ").split()
    rows = [dict(zip(columns, line.split(), strict=False)) for line in lines[2:] if line]
    return [f"{row['srv_name']} {row['srv_uweight']} {row['srv_admin_state']}" for row in rows]


def tell(front: Front, line: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(front.admin)
        connection.sendall(f"{line}\n".encode())
        connection.recv(1000)


def weight(proxy: str = "edge", **weights: int) -> HaproxyWeight:
    return HaproxyWeight(proxy=proxy, backend="web", weights=weights)


class TestWeight(ActionContract):
    @pytest.fixture
    def scene(self, haproxy: Front) -> Scene:
        return Scene(
            action=weight(blue=5, green=95),
            policy=haproxy.policy,
            look=lambda: state(haproxy),
            meddle=lambda: tell(haproxy, "set server web/blue weight 77"),
            never=AT_ONCE,
            has_marks=False,
        )


class TestDrain(ActionContract):
    @pytest.fixture
    def scene(self, haproxy: Front) -> Scene:
        return Scene(
            action=HaproxyDrain(proxy="tcp", backend="web", server="blue"),
            policy=haproxy.policy,
            look=lambda: state(haproxy),
            never={Probe.UNKNOWN: MIXED, Probe.IN_PROGRESS: "shown below with a session that lasts"},
            has_marks=False,
        )


class TestReady(ActionContract):
    @pytest.fixture
    def scene(self, haproxy: Front) -> Scene:
        tell(haproxy, "set server web/blue state drain")
        return Scene(
            action=HaproxyReady(proxy="edge", backend="web", server="blue"),
            policy=haproxy.policy,
            look=lambda: state(haproxy),
            never={Probe.UNKNOWN: MIXED, **AT_ONCE},
            has_marks=False,
        )


def test_a_shift_under_load_loses_no_request_and_moves_the_share_that_was_asked_for(haproxy: Front) -> None:
    with Load(haproxy.port) as load:
        load.more(100)
        change, _ = carry_out(weight(blue=10, green=90), context_in(haproxy.policy))
        load.more(20)  # those that were on their way
        shifted = load.more(400)
        carry_out(weight(blue=0, green=90), context_in(haproxy.policy))
        load.more(20)
        emptied = load.more(200)
    assert load.failed == []
    assert change.summary == "web: traffic from blue 50 %, green 50 % to blue 10 %, green 90 %"
    assert change.measures == {"shift": 40.0}
    assert shifted["blue"] / shifted.total() == pytest.approx(0.1, abs=0.03)
    assert emptied["blue"] == 0


def test_a_drain_under_load_loses_no_request(haproxy: Front) -> None:
    with Load(haproxy.port) as load:
        load.more(100)
        step = HaproxyDrain(proxy="edge", backend="web", server="blue")
        change, _ = carry_out(step, context_in(haproxy.policy))
        load.more(20)
        drained = load.more(200)
        back = step.undo(change)
        assert back is not None
        carry_out(back, context_in(haproxy.policy))
        load.more(20)
        returned = load.more(200)
    assert load.failed == []
    assert (drained["blue"], returned["blue"] > 50) == (0, True)


def test_a_drain_waits_for_the_last_session_and_is_in_progress_until_then(haproxy: Front) -> None:
    step = HaproxyDrain(proxy="edge", backend="web", server="blue")
    tell(haproxy, "set server web/green weight 0")
    with socket.create_connection(("127.0.0.1", haproxy.port)) as session:
        session.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")  # and the body never comes
        while not sessions(context_in(haproxy.policy), "edge", "web", "blue"):
            pass
        tell(haproxy, "set server web/green weight 50")
        context = context_in(haproxy.policy, seconds=1)
        change = step.plan(context)
        with pytest.raises(InDoubtError, match=r"^blue still had 1 sessions when the step's deadline passed; it takes no new ones\.$"):
            step.apply(context, change)
        assert step.probe(context_in(haproxy.policy), change) is Probe.IN_PROGRESS
        assert ask(haproxy.port) == "green"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (weight(red=1), "web has no server red. It has: blue, green."),
        (weight(blue=0, green=0), "web: no server that is up would have any weight; traffic would go nowhere."),
        (HaproxyWeight(proxy="edge", backend="nothing", weights={"a": 1}), 'haproxy "edge" has no backend "nothing": Can\'t find backend.'),
        (weight("other", blue=1), 'policy.yaml knows no haproxy "other"; it knows: edge, tcp.'),
    ],
)
def test_what_is_not_there_is_named(haproxy: Front, step: Any, words: str) -> None:
    with pytest.raises(PermanentError) as caught:
        step.plan(context_in(haproxy.policy))
    assert str(caught.value) == words


def test_the_last_server_is_not_drained(haproxy: Front) -> None:
    tell(haproxy, "set server web/green state maint")
    with pytest.raises(PermanentError, match=r"^web: blue is the last server that takes traffic; it is not drained\.$"):
        HaproxyDrain(proxy="edge", backend="web", server="blue").plan(context_in(haproxy.policy))


def test_weights_that_somebody_changed_since_the_plan_are_a_conflict(haproxy: Front) -> None:
    context, step = context_in(haproxy.policy), weight(blue=10)
    change = step.plan(context)
    tell(haproxy, "set server web/green weight 7")
    with pytest.raises(ConflictError, match=r"^web: its weights changed since they were read; nothing was written\.$"):
        step.apply(context, change)


def test_an_haproxy_that_is_not_there_is_named_and_nothing_was_sent(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"/gone.sock cannot be reached \(.*\)\. Nothing was sent\.$"):
        weight(blue=1).plan(context_in(Policy(haproxy={"edge": f"{tmp_path}/gone.sock"})))
