"""Logs, traces and metrics: what is found, what is kept of it, and that nothing but reading is ever sent."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import carry_out, context_in
from stopgap.actions import registry
from stopgap.actions.arguments import ArgumentsError
from stopgap.actions.around import reading, splunk
from stopgap.actions.contract import PermanentError, TemporaryError
from stopgap.policy.model import Policy
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from fixtures_aws import Cloud
    from fixtures_office import Office

PLACES = {"elasticsearch": "logs", "splunk": "logs", "jaeger": "traces", "zipkin": "traces", "datadog": "metrics", "newrelic": "metrics"}
STEPS: dict[str, dict[str, dict[str, Any]]] = {
    "logs": {"logs.search": {"query": "timeout"}, "logs.wait": {"query": "timeout", "below": 99}},
    "traces": {"traces.find": {"service": "checkout"}, "traces.wait": {"service": "checkout", "of": "slowest", "below": 9}},
    "metrics": {"metrics.query": {"query": "avg:latency{*}"}, "metrics.wait": {"query": "avg:latency{*}", "below": 9}},
}
EVERY = [(kind, name) for kind, purpose in PLACES.items() for name in STEPS[purpose]]
SECRET_LINE = "timeout for user password=hunter2 Authorization: Bearer abc.def-ghi at https://me:pw@host/x " + "y" * 400


def policy(office: Office, kind: str, **more: Any) -> Policy:
    return office.policy(office.site(PLACES[kind], kind, **more))


def fill(office: Office) -> None:
    office.lines = [{"time": f"2026-11-22T03:00:{second:02}Z", "message": f"timeout {second}"} for second in range(30)]
    office.traces = [
        {"id": "a1", "service": "checkout", "name": "GET /pay", "seconds": 0.2, "failed": False},
        {"id": "b2", "service": "checkout", "name": "POST /order", "seconds": 4.5, "failed": True},
        {"id": "c3", "service": "checkout", "name": "GET /", "seconds": 1.25, "failed": False},
        {"id": "d4", "service": "search", "name": "GET /", "seconds": 9.0, "failed": True},
    ]


class TestReading(ActionContract):
    @pytest.fixture(params=EVERY, ids="-".join)
    def scene(self, request: pytest.FixtureRequest, office: Office) -> Scene:
        kind, name = request.param
        fill(office)
        return Scene(
            action=registry.build(name, STEPS[PLACES[kind]][name]),
            policy=policy(office, kind),
            look=lambda: (office.lines, office.traces),
            heard=office.changes,
        )


@pytest.mark.parametrize(("kind", "word"), [("elasticsearch", "ApiKey s3cret"), ("splunk", "Bearer s3cret")])
def test_a_search_counts_all_and_keeps_the_newest_lines(office: Office, kind: str, word: str) -> None:
    fill(office)
    change, outcome = carry_out(registry.build("logs.search", {"query": "timeout", "limit": 2}), context_in(policy(office, kind)))
    assert change.summary == "30 lines match timeout in the last 15m"
    assert outcome.data["count"] == 30
    assert outcome.data["lines"] == ["2026-11-22T03:00:00Z timeout 0", "2026-11-22T03:00:01Z timeout 1"]
    assert any(each.headers["authorization"].startswith(word) for each in office.heard)
    assert "bot" not in str(outcome)


@pytest.mark.parametrize("kind", ["elasticsearch", "splunk"])
def test_a_user_and_password_are_sent_without_a_login(office: Office, kind: str) -> None:
    fill(office)
    carry_out(registry.build("logs.search", {"query": "timeout"}), context_in(policy(office, kind, user="bot"), mode="dry"))
    assert {each.headers["authorization"].split()[0] for each in office.heard} == {"Basic"}


@pytest.mark.parametrize(
    ("kind", "link", "found"),
    [
        (
            "elasticsearch",
            "https://kibana/app/discover",
            "https://kibana/app/discover#/?_g=(time:(from:now-900s,to:now))&_a=(query:(language:lucene,query:'time%20out%21%27'))",
        ),
        ("splunk", "https://splunk/search", "https://splunk/search?q=search%20time%20out%27&earliest=-900s&latest=now"),
    ],
)
def test_the_link_leads_to_the_same_search(office: Office, kind: str, link: str, found: str) -> None:
    outcome = carry_out(registry.build("logs.search", {"query": "time out'"}), context_in(policy(office, kind, link=link)))[1]
    assert outcome.data["link"] == found


@pytest.mark.parametrize("kind", ["elasticsearch", "splunk"])
def test_what_is_kept_of_a_line_is_short_and_holds_no_credential(office: Office, kind: str) -> None:
    office.lines = [{"time": "now", "message": SECRET_LINE}]
    (line,) = carry_out(registry.build("logs.search", {"query": "timeout"}), context_in(policy(office, kind)))[1].data["lines"]
    assert line.startswith("now timeout for user password=*** Authorization: Bearer *** at https://***@host/x yyy")
    assert len(line) == reading.LONGEST_LINE


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('{"api_key": "abcdef", "id": 7}', '{"api_key": "***", "id": 7}'),
        ("token: x1y2, ok", "token: ***, ok"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key *** used"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc done", "jwt *** done"),
        ("the password is wrong", "the password is wrong"),
        ("GET /a\n\tb", "GET /a b"),
    ],
)
def test_what_looks_like_a_credential_is_not_kept(line: str, kept: str) -> None:
    assert reading.trimmed(line) == kept


@pytest.mark.parametrize(
    "query",
    [
        "index=a | delete",
        "index=a | outputlookup users.csv",
        "index=a | eval x=1 |  SENDEMAIL to=a@b.c",
        "index=a [search index=b | collect index=c]",
        "| rest /services/server/control/restart",
        'index=a | map search="search x | delete"',
        "`everything`",
        'index=a "unclosed | delete',
        'index=a "escaped \\" | delete',
        "|",
    ],
)
def test_a_splunk_search_that_may_do_more_than_read_is_refused_before_it_is_sent(office: Office, query: str) -> None:
    with pytest.raises(PermanentError, match=r"Nothing was sent\.$"):
        carry_out(registry.build("logs.search", {"query": query}), context_in(policy(office, "splunk")))
    assert office.heard == []


@pytest.mark.parametrize(
    "query",
    ['index=a "| delete" | stats count by host', "index=a [search index=b | fields id] | head 3", 'a | rex "(?<x>[a-z|]+)" | table x'],
)
def test_a_splunk_search_that_only_reads_passes(query: str) -> None:
    splunk.refuse(query)


@pytest.mark.parametrize("kind", ["jaeger", "zipkin"])
def test_the_slowest_and_the_failing_traces_of_a_service_are_found(office: Office, kind: str) -> None:
    fill(office)
    change, outcome = carry_out(registry.build("traces.find", {"service": "checkout", "limit": 2}), context_in(policy(office, kind)))
    path = f"{office.url}/{kind}/{'trace' if kind == 'jaeger' else 'zipkin/traces'}"
    slow = {"trace": "b2", "name": "POST /order", "seconds": 4.5, "link": f"{path}/b2"}
    assert change.summary == "1 traces of checkout failed in the last 15m; the slowest took 4.5 s (POST /order)"
    assert outcome.data["slowest"] == [slow, {"trace": "c3", "name": "GET /", "seconds": 1.25, "link": f"{path}/c3"}]
    assert (outcome.data["failing"], outcome.data["failing_traces"], outcome.data["slowest_seconds"]) == (1, [slow], 4.5)


@pytest.mark.parametrize("kind", ["jaeger", "zipkin"])
def test_a_service_without_traces_is_no_healthy_one(office: Office, kind: str) -> None:
    context = context_in(policy(office, kind))
    assert carry_out(registry.build("traces.find", {"service": "checkout"}), context)[1].data["slowest"] == []
    wait = registry.build("traces.wait", {"service": "checkout", "below": 1, "within": "0.1s", "every": "0.1s"})
    with pytest.raises(PermanentError, match=r"the last answer was: checkout has no traces in the last 1m"):
        carry_out(wait, context)


@pytest.mark.parametrize("kind", ["datadog", "newrelic"])
def test_a_metric_gives_its_newest_value(office: Office, kind: str) -> None:
    change, outcome = carry_out(registry.build("metrics.query", {"query": "q"}), context_in(policy(office, kind)))
    assert (change.summary, outcome.data["value"]) == ("q is 0.25 now", 0.25)
    assert outcome.data["link"].startswith("https://")


@pytest.mark.parametrize("kind", ["datadog", "newrelic"])
def test_what_is_no_single_value_says_so(office: Office, kind: str) -> None:
    cases: list[tuple[int, float | None, Any, str]] = [
        (2, 1.0, PermanentError, "exactly one is needed"),
        (0, 1.0, PermanentError, "refused the query q: "),
        (1, None, TemporaryError, "has no data for q."),
    ]
    for series, value, error, said in cases:
        office.series, office.value = series, value
        with pytest.raises(error, match=said):
            carry_out(registry.build("metrics.query", {"query": "q"}), context_in(policy(office, kind)))


def test_a_wait_holds_when_the_value_does_and_says_the_last_one_when_not(office: Office) -> None:
    office.value = 3.0
    wait = registry.build("metrics.wait", {"query": "q", "below": 2, "within": "0.2s", "every": "0.1s"})
    with pytest.raises(
        PermanentError, match=r"^q is below 2: this did not hold within 200ms|^q is below 2: this did not hold within 0\.2s"
    ):
        carry_out(wait, context_in(policy(office, "datadog")))
    office.value = 1.0
    assert carry_out(wait, context_in(policy(office, "datadog")))[1].data == {"value": 1.0}
    with pytest.raises(ArgumentsError, match='nothing is waited for; give one of "below", "above" or "equals"'):
        registry.build("metrics.wait", {"query": "q"})


def aws(cloud: Cloud, office: Office) -> Policy:
    around = office.policy(office.site("metrics", "cloudwatch", secret=False, account="prod")).around
    return Policy(accounts=cloud.policy().accounts, around=around)


def test_cloudwatch_gives_the_newest_value_of_a_metric(cloud: Cloud, office: Office) -> None:
    now = dt.datetime.now(dt.UTC)
    for ago, value in ((4, 9.0), (2, 41.0)):
        datum = {
            "MetricName": "Age",
            "Dimensions": [{"Name": "QueueName", "Value": "orders"}],
            "Timestamp": now - dt.timedelta(minutes=ago),
        }
        cloud.admin("cloudwatch").put_metric_data(Namespace="Shop/SQS", MetricData=[{**datum, "Value": value}])
    step = registry.build("metrics.query", {"query": "Average Shop/SQS Age QueueName=orders", "last": "10m"})
    outcome = carry_out(step, context_in(aws(cloud, office), mode="dry"))[1]
    assert (outcome.data["value"], outcome.data["link"][:50]) == (41.0, "https://eu-west-1.console.aws.amazon.com/cloudwatc")
    assert cloud.changes() == []


def test_cloudwatch_without_data_or_with_a_query_that_is_none_says_so(cloud: Cloud, office: Office) -> None:
    context = context_in(aws(cloud, office))
    with pytest.raises(TemporaryError, match="has no data for"):
        carry_out(registry.build("metrics.query", {"query": "p99 Shop/SQS Age"}), context)
    with pytest.raises(PermanentError, match=r"is none for CloudWatch\. Write STATISTIC NAMESPACE METRIC"):
        carry_out(registry.build("metrics.query", {"query": "Age"}), context)
    cloud.refuse.add("GetMetricData")
    with pytest.raises(PermanentError, match=r"^cloudwatch:GetMetricData in account .* was refused"):
        carry_out(registry.build("metrics.query", {"query": "p99 Shop/SQS Age"}), context)


@pytest.mark.parametrize("kind", PLACES)
def test_a_refused_secret_names_its_place(office: Office, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_PASSWORD", "stale-one")
    name, arguments = next(iter(STEPS[PLACES[kind]].items()))
    with pytest.raises(PermanentError) as caught:
        carry_out(registry.build(name, arguments), context_in(policy(office, kind)))
    assert f"as policy.yaml says under {PLACES[kind]}.default." in str(caught.value)
    assert "stale-one" not in str(caught.value)


@pytest.mark.parametrize("kind", ["jaeger", "newrelic", "datadog", "elasticsearch", "splunk"])
def test_a_service_that_is_not_there_is_no_bug(office: Office, kind: str) -> None:
    name, arguments = next(iter(STEPS[PLACES[kind]].items()))
    with pytest.raises(TemporaryError, match="refused"):
        carry_out(registry.build(name, arguments), context_in(policy(office, kind, url="http://127.0.0.1:9")))
