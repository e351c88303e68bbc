"""`http.request` and `http.get` against a service that really keeps a state."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import carry_out, context_in
from stopgap.actions import addresses, registry
from stopgap.actions.arguments import ArgumentsError
from stopgap.actions.contract import Change, InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.actions.http_request import HttpRequest
from stopgap.policy.model import HttpRules, Policy
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from fixtures_http import Service

NOWHERE = Policy(http=HttpRules(hosts=()))


class TestRequest(ActionContract):
    @pytest.fixture
    def scene(self, service: Service) -> Scene:
        service.things["flag"] = {"on": False}
        return Scene(
            action=HttpRequest(
                method="PUT",
                url=service.url("flag"),
                json_={"on": True},
                done_url=service.url("flag"),
                done_expect={"/on": True},
                repeatable=True,
                undo_method="PUT",
                undo_url=service.url("flag"),
                undo_json={"on": False},
            ),
            policy=Policy(),
            look=lambda: dict(service.things),
            heard=service.changes,
            has_marks=False,
            never={
                Probe.IN_PROGRESS: "a request is done when it was answered",
                Probe.UNKNOWN: "it is repeatable: what is not done is sent again",
            },
        )


class TestAppend(ActionContract):
    """One that may not be repeated, and whose effect nothing tells."""

    @pytest.fixture
    def scene(self, service: Service) -> Scene:
        return Scene(
            action=HttpRequest(method="POST", url=service.url("list"), json_={"a": 1}, undo_url=service.url("list")),
            policy=Policy(),
            look=lambda: dict(service.things),
            heard=service.changes,
            has_marks=False,
            adds="each POST adds one",
            meddle=lambda: None,
            never=dict.fromkeys((Probe.DONE, Probe.NOT_DONE, Probe.IN_PROGRESS), "nothing tells whether it is done"),
        )


class TestGet(ActionContract):
    @pytest.fixture
    def scene(self, service: Service) -> Scene:
        service.things["flag"] = {"on": False}
        return Scene(
            action=registry.build("http.get", {"url": service.url("flag")}),
            policy=Policy(),
            look=lambda: dict(service.things),
            heard=service.changes,
        )


def post(service: Service, **more: Any) -> Any:
    return registry.build("http.request", {"method": "POST", "url": service.url("list"), **more})


def test_the_request_carries_our_mark_and_the_answer_becomes_output(service: Service) -> None:
    step = post(service, json={"size": 3}, headers={"Authorization": "Bearer abc"}, status=200, expect={"/all/0/size": 3})
    change, outcome = carry_out(step, context_in(Policy()))
    (heard,) = service.heard
    assert (heard.method, heard.path, heard.body) == ("POST", "/things/list", '{"size":3}')
    assert (heard.headers["stopgap-mark"], heard.headers["authorization"]) == ("INC-1.1/step/1", "Bearer abc")
    assert heard.headers["content-type"] == "application/json"
    assert change.after == {
        "request": f"POST {service.url('list')}",
        "header Authorization": "hash c355dce96c16",
        "body": '{\n  "size": 3\n}',
    }
    assert (outcome.changed, outcome.data) == (True, {"status": 200, "body": {"all": [{"size": 3}]}})


@pytest.mark.parametrize(
    ("expect", "fault"),
    [
        ({"/all/0/size": 4}, "/all/0/size is 3 instead of 4"),
        ({"/all/1": 4}, "the answer has nothing at /all/1"),
        ({"/all/0/size": 3, "/gone": None}, "the answer has nothing at /gone"),
        ({"": {}}, 'the answer is {"all": [{"size": 3}]} instead of {}'),
        ({"/all/0/size": True}, "/all/0/size is 3 instead of true"),
    ],
)
def test_an_answer_that_is_not_the_expected_one_fails_the_step_and_says_where(service: Service, expect: dict[str, Any], fault: str) -> None:
    with pytest.raises(PermanentError) as caught:
        carry_out(post(service, json={"size": 3}, expect=expect), context_in(Policy()))
    assert str(caught.value) == f'POST {service.url("list")}: {fault}. The answer: {{"all": [{{"size": 3}}]}}'
    assert len(service.heard) == 1


@pytest.mark.parametrize(
    ("status", "repeatable", "kind", "said"),
    [
        (201, False, None, ""),
        (301, False, PermanentError, "the status is 301 (to http://127.0.0.1:1/elsewhere) instead of 200 to 299"),
        (404, False, PermanentError, "the status is 404 instead of 200 to 299"),
        (429, False, TemporaryError, "answered 429: it was not taken."),
        (503, False, InDoubtError, "answered 503; it may have happened all the same."),
        (503, True, TemporaryError, "answered 503; it may have happened all the same."),
    ],
)
def test_what_a_status_means_for_the_step(service: Service, status: int, *, repeatable: bool, kind: Any, said: str) -> None:
    service.answers, service.location = [status], "http://127.0.0.1:1/elsewhere"
    step = post(service, repeatable=repeatable)
    if kind is None:
        assert carry_out(step, context_in(Policy()))[1].data["status"] == status
    else:
        with pytest.raises(kind) as caught:
            carry_out(step, context_in(Policy()))
        assert said in str(caught.value)
    assert service.changes() == ["POST /things/list"], "a redirect is not followed, and nothing is sent twice"


def test_a_lost_answer_leaves_the_step_in_doubt_and_is_never_sent_again_by_itself(service: Service) -> None:
    service.hangs_up = True
    plain, asked = post(service), post(service, done_url=service.url("list"))
    change = asked.plan(context_in(Policy()))
    for step in (plain, asked):
        with pytest.raises(InDoubtError, match=r"^POST .*: it was sent, and what became of it is not known \(.+\)\.$"):
            step.apply(context_in(Policy()), change)
    assert len(service.changes()) == 2
    assert [step.probe(context_in(Policy()), change) for step in (plain, asked)] == [Probe.UNKNOWN, Probe.DONE]
    assert asked.plan(context_in(Policy())).is_empty


def test_a_server_that_answers_a_byte_at_a_time_does_not_outlast_the_deadline(service: Service) -> None:
    service.drips = True
    began = time.monotonic()
    with pytest.raises(InDoubtError, match=r"what became of it is not known \(no (whole )?answer within 0\.\d+ s\)\.$"):
        carry_out(post(service), context_in(Policy(), seconds=0.5))
    with pytest.raises(TemporaryError, match=r"^GET .*: no (whole )?answer within 0\.\d+ s\.$"):
        carry_out(registry.build("http.get", {"url": service.url("list")}), context_in(Policy(), seconds=0.5))
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        step = registry.build("http.request", {"method": "POST", "url": f"http://127.0.0.1:{closed.getsockname()[1]}/x"})
        with pytest.raises(TemporaryError, match=r"^POST http.*/x: nothing was sent \(.*Connection refused\)\.$"):
            carry_out(step, context_in(Policy()))


@pytest.mark.parametrize("name", ["http.get", "http.wait"])
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[64:ff9b::a9fe:a9fe]",
        "100.100.100.200",
    ],
)
def test_link_local_and_metadata_addresses_are_refused_however_they_are_written(name: str, host: str) -> None:
    step = registry.build(name, {"url": f"http://{host}/latest/meta-data"})
    with pytest.raises(
        PermanentError, match="is a link-local or metadata address, which may give out a machine's credentials; nothing was"
    ):
        step.plan(context_in(Policy()))


def answers_of_a_name_server(monkeypatch: pytest.MonkeyPatch, *rounds: tuple[str, ...]) -> list[str]:
    """Let names stand for addresses, another set each time they are asked for, the last one for ever."""
    asked, left, real = [], list(rounds), socket.getaddrinfo

    def answer(host: str, port: int, *args: Any, **more: Any) -> Any:
        if host != "api.example.com":
            return real(host, port, *args, **more)
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_a_name_that_stands_for_a_metadata_address_is_refused(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    answers_of_a_name_server(monkeypatch, ("127.0.0.1", "169.254.169.254"))
    step = registry.build("http.request", {"method": "POST", "url": f"http://api.example.com:{service.port}/things/list"})
    with pytest.raises(PermanentError) as caught:
        carry_out(step, context_in(Policy()))
    assert str(caught.value) == (
        "api.example.com (169.254.169.254) is a link-local or metadata address, which may give out a machine's credentials; nothing was sent.\n"
        "If it is meant, let policy.yaml say so:  http: {addresses: [...]}"
    )
    assert service.heard == []


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    asked = answers_of_a_name_server(monkeypatch, ("127.0.0.1",), ("169.254.169.254",))
    step = registry.build("http.get", {"url": f"http://api.example.com:{service.port}/things/list", "status": 404})
    step.apply(context_in(Policy()), Change(summary=""))
    assert (asked, service.heard[0].headers["host"]) == (["api.example.com"], f"api.example.com:{service.port}")


def test_the_next_address_of_a_name_is_tried_when_the_first_does_not_answer(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    answers_of_a_name_server(monkeypatch, ("127.0.0.2", "127.0.0.1"))
    step = registry.build("http.get", {"url": f"http://api.example.com:{service.port}/things/list", "status": 404})
    step.apply(context_in(Policy()), Change(summary=""))
    assert len(service.heard) == 1


def test_policy_can_allow_such_an_address() -> None:
    assert addresses.resolve("169.254.169.254", 80, rules=HttpRules(addresses=("169.254.0.0/16",))) == ("169.254.169.254",)
    with pytest.raises(PermanentError, match=r"^fe80::1 is a link-local"):
        addresses.resolve("fe80::1", 80, rules=HttpRules(addresses=("169.254.0.0/16",)))


def test_an_address_that_is_none_says_so() -> None:
    for name in ("http.get", "http.wait"):
        step = registry.build(name, {"url": "http://0251.0376.0251.0376/"})
        with pytest.raises(PermanentError, match=r"Invalid IPv4 address: '0251\.0376\.0251\.0376'"):
            step.plan(context_in(Policy()))


def test_policy_says_at_which_hosts_something_may_be_changed(service: Service) -> None:
    step = post(service)
    with pytest.raises(
        PermanentError, match=r"^Nothing may be changed at 127\.0\.0\.1: http\.hosts in policy\.yaml allows only none\. Nothing was sent\.$"
    ):
        step.plan(context_in(NOWHERE))
    change = step.plan(context_in(Policy(http=HttpRules(hosts=("127.*",)))))
    with pytest.raises(PermanentError, match="Nothing may be changed"):
        step.apply(context_in(NOWHERE), change)
    assert service.heard == []


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"json": {}, "text": ""}, "give the body as `json` or as `text`, not both"),
        ({"done_expect": {"/a": 1}}, "`done_expect` needs a `done_url`, which is asked for it"),
        (
            {"url": "https://me:secret@example.com/"},
            "an address must not carry a password; give it as a header, from a parameter with `secret: true`",
        ),
        ({"headers": {"Host": "other"}}, "the headers Host are written by stopgap itself"),
        ({"headers": {"A": "b\r\nC: d"}}, '"headers.A": string should match pattern \'^[ -~]*$\'; found "b\\r\\nC: d"'),
        ({"expect": {"a": 1}}, '"expect.a.[key]": string should match pattern \'^(/([^~]|~[01])*)?$\'; found "a"'),
        ({"method": "GET"}, "\"method\": input should be 'POST', 'PUT', 'PATCH' or 'DELETE'; found \"GET\""),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(more: dict[str, Any], fault: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        registry.build("http.request", {"method": "POST", "url": "https://example.com/", **more})
    assert caught.value.faults == (fault,)
