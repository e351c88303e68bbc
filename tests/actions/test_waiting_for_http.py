"""`http.wait`, `prometheus.query` and `prometheus.wait` against a real HTTP server that answers what the test says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from fixtures_cluster import carry_out, context_in
from stopgap.actions import registry
from stopgap.actions.arguments import ArgumentsError
from stopgap.actions.contract import Context, PermanentError, Probe, TemporaryError
from stopgap.policy.model import Policy
from stopgap.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Site:
    """Answers (status, body) in order, the last one for ever."""

    url: str = ""
    answers: list[tuple[int, str]] = field(default_factory=lambda: [(200, "")])
    asked: list[str] = field(default_factory=list)
    pause: threading.Event | None = None

    def next(self) -> tuple[int, str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site = cast("_Server", self.server).site
        site.asked.append(self.path)
        if site.pause is not None:
            site.pause.wait(10)
        status, body = site.next()
        self.send_response(status)
        self.send_header("content-length", str(len(body.encode())))
        self.send_header("location", "/elsewhere")
        self.end_headers()
        with contextlib.suppress(OSError):  # whoever asked has lost patience
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    server = _Server(("127.0.0.1", 0), _Answer)
    server.site = Site(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.site
    server.shutdown()
    server.server_close()
    thread.join()


def context(site: Site, seconds: float = 20) -> Context:
    return context_in(Policy(prometheus={"default": site.url}), seconds=seconds)


def vector(*values: float | str) -> tuple[int, str]:
    result = [{"metric": {}, "value": [1, str(value)]} for value in values]
    return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def test_it_waits_until_the_status_is_the_expected_one(site: Site) -> None:
    site.answers = [(503, ""), (503, ""), (503, ""), (204, "")]
    step = registry.build("http.wait", {"url": f"{site.url}/health", "status": 204, "every": "0.02s"})
    change, outcome = carry_out(step, context(site))
    assert change.summary.startswith(f"wait until {site.url}/health answers 204; now: 503 in 0.")
    assert (change.is_empty, outcome.changed, outcome.data["status"]) == (True, False, 204)
    assert len(site.asked) == 4
    assert step.probe(context(site), change) is Probe.NOT_DONE


def test_a_status_that_does_not_come_says_what_came_instead(site: Site) -> None:
    site.answers = [(302, "")]
    step = registry.build("http.wait", {"url": site.url, "within": "0.2s", "every": "0.05s"})
    with pytest.raises(
        PermanentError, match=rf"^{site.url} answers 200: this did not hold within 0.2s; the last answer was: 302 in 0.\d\d s\.$"
    ):
        carry_out(step, context(site))
    assert set(site.asked) == {"/"}


def test_an_answer_that_is_too_slow_does_not_count(site: Site) -> None:
    site.pause = threading.Event()
    step = registry.build("http.wait", {"url": site.url, "faster_than": "0.02s", "within": "0.3s", "every": "0.05s"})
    with pytest.raises(
        PermanentError, match=r"answers 200 in less than 0.02s: this did not hold within 0.3s; the last answer was: no answer \(ReadTimeout"
    ):
        carry_out(step, context(site))
    site.pause.set()


def test_an_address_where_nobody_listens_is_waited_for(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    step = registry.build("http.wait", {"url": url, "within": "0.1s", "every": "0.05s"})
    with pytest.raises(PermanentError, match=r"the last answer was: no answer \(ConnectError: "):
        carry_out(step, context(site))


def test_the_steps_timeout_ends_the_wait_and_says_so(site: Site) -> None:
    site.answers = [(500, "")]
    step = registry.build("http.wait", {"url": site.url, "within": "5m", "every": "0.05s"})
    with pytest.raises(PermanentError, match=r"within 0\.\ds \(what was left of the step's timeout\); "):
        carry_out(step, context(site, seconds=0.3))


def test_a_proxy_of_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    carry_out(registry.build("http.wait", {"url": site.url, "within": "2s"}), context(site))


def test_a_query_hands_its_value_on(site: Site) -> None:
    site.answers = [vector(0.25)]
    change, outcome = carry_out(registry.build("prometheus.query", {"query": "sum(up)"}), context(site))
    assert (change.summary, outcome.summary, dict(outcome.data)) == ("sum(up) is 0.25 now", "sum(up) is 0.25", {"value": 0.25})
    assert parse_qs(urlsplit(site.asked[0]).query) == {"query": ["sum(up)"]}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (vector(1, 2), PermanentError, "gives 2 values; exactly one value is needed. Wrap it in sum"),
        (vector(), TemporaryError, "has no data for up."),
        (vector("NaN"), TemporaryError, "gives nan for up; there is no data to calculate with."),
        ((400, '{"error": "parse error"}'), PermanentError, "refused the query up: parse error"),
        ((503, '{"error": "starting"}'), TemporaryError, "answered 503: starting"),
        ((200, "<html>"), TemporaryError, "answered with something else than a value; is this its address?"),
        (
            (200, '{"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}'),
            PermanentError,
            "gives a string; exactly one",
        ),
        ((200, '{"data": []}'), TemporaryError, "is this its address?"),
        ((200, "[]"), TemporaryError, "is this its address?"),
    ],
)
def test_an_answer_without_one_value_is_an_error_of_its_own(site: Site, answer: tuple[int, str], kind: type[Exception], words: str) -> None:
    site.answers = [answer]
    with pytest.raises(kind) as caught:
        registry.build("prometheus.query", {"query": "up"}).plan(context(site))
    assert words in str(caught.value)


def test_an_unknown_server_names_the_known_ones(site: Site) -> None:
    with pytest.raises(PermanentError, match=r'^policy.yaml knows no Prometheus server "prod"; it knows: default.$'):
        registry.build("prometheus.query", {"query": "up", "server": "prod"}).plan(context(site))


def test_waiting_for_a_value_lasts_until_it_holds_without_a_break(site: Site) -> None:
    site.answers = [vector(), vector(9), vector(1), vector(9), vector(1), (503, "{}"), vector(1)]
    step = registry.build("prometheus.wait", {"query": "p99", "below": 2, "for": "0.1s", "every": "0.03s"})
    clock = ManualClock()
    policy = Policy(prometheus={"default": site.url})
    patient = Context(policy=policy, clock=clock, deadline=clock.now() + timedelta(seconds=20), mark="")
    change, outcome = carry_out(step, patient)
    assert change.summary.endswith("has no data for p99.")
    assert (outcome.data["value"], len(site.asked)) == (1.0, 1 + 5 + 5)


@pytest.mark.parametrize(
    ("bound", "value", "holds"), [("below", 2, False), ("above", 2, False), ("above", 3, True), ("equals", 2, True), ("equals", 3, False)]
)
def test_bounds_are_exclusive_and_equality_is_equality(site: Site, bound: str, value: float, *, holds: bool) -> None:
    site.answers = [vector(value)]
    step = registry.build("prometheus.wait", {"query": "x", bound: 2, "within": "0.2s", "every": "0.05s"})
    if holds:
        carry_out(step, context(site))
    else:
        with pytest.raises(PermanentError, match=r"^x is .* 2: this did not hold within 0.2s; the last answer was: "):
            carry_out(step, context(site))


def test_a_wait_without_a_bound_is_refused() -> None:
    with pytest.raises(ArgumentsError, match=r'nothing is waited for; give one of "below", "above" or "equals"$'):
        registry.build("prometheus.wait", {"query": "x"})


def test_waiting_a_fixed_time_uses_the_clock_and_fits_the_timeout(site: Site) -> None:
    step = registry.build("wait", {"for": "0.01s"})
    assert carry_out(step, context(site))[1].summary == "waited 0.01s"
    with pytest.raises(PermanentError, match="wait: 1h is longer than what is left of the step's timeout"):
        carry_out(registry.build("wait", {"for": "1h"}), context(site))


def test_a_note_says_its_text_and_a_human_is_asked_with_the_instructions(site: Site) -> None:
    note = registry.build("note", {"text": "Call Ada."})
    assert carry_out(note, context(site))[1].summary == "Call Ada."
    manual = registry.build("manual", {"instructions": "Flush the cache.\nThen look."})
    change, outcome = carry_out(manual, context(site))
    assert (change.summary, change.is_empty, outcome.changed) == ("a human does: Flush the cache.", False, True)
    assert (manual.confirms, manual.probe(context(site), change)) == (True, Probe.UNKNOWN)
    assert timedelta(hours=24) == manual.default_timeout
