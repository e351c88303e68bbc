"""Tickets in Jira and ServiceNow: opened once, found again by their marks, commented on, closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fixtures_cluster import carry_out, context_in
from fixtures_office import PASSWORD
from stopgap.actions import registry
from stopgap.actions.contract import Context, InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from fixtures_office import Office
    from stopgap.policy.model import Policy

STATE = "a ticket's state does not move while we look"
TITLE, LABEL = "Checkout is slow", "stopgap-INC-1"


@pytest.fixture(params=["jira", "servicenow"])
def tracker(request: pytest.FixtureRequest, office: Office) -> Policy:
    return office.policy(office.site("trackers", request.param))


def look(office: Office) -> list[tuple[str, str, int]]:
    """What is open, and how often something was said of it."""
    issues = [
        (each["fields"]["summary"], each["fields"]["status"]["name"], len(each["fields"]["comments"])) for each in office.issues.values()
    ]
    records = [(each["short_description"], each["state"], len(office.notes)) for each in office.records.values()]
    return [each for each in (*issues, *records) if each[1] not in {"Done", "6"}]


def opened(policy: Policy) -> None:
    carry_out(registry.build("ticket.open", {"title": TITLE}), context_in(policy, mark="INC-1.1/open/1"))


class TestOpen(ActionContract):
    @pytest.fixture
    def scene(self, office: Office, tracker: Policy) -> Scene:
        return Scene(
            action=registry.build("ticket.open", {"title": TITLE, "text": "It takes four seconds."}),
            policy=tracker,
            look=lambda: look(office),
            heard=office.changes,
            never={Probe.IN_PROGRESS: STATE, Probe.UNKNOWN: "nobody else writes our mark"},
        )


class TestComment(ActionContract):
    @pytest.fixture
    def scene(self, office: Office, tracker: Policy) -> Scene:
        opened(tracker)
        before = len(office.changes())
        return Scene(
            action=registry.build("ticket.comment", {"text": "Capacity was added."}),
            policy=tracker,
            look=lambda: look(office),
            heard=lambda: office.changes()[before:],
            never={Probe.IN_PROGRESS: STATE, Probe.UNKNOWN: "nobody else writes our mark"},
        )


class TestClose(ActionContract):
    @pytest.fixture
    def scene(self, office: Office, tracker: Policy) -> Scene:
        opened(tracker)
        before = len(office.changes())
        return Scene(
            action=registry.build("ticket.close", {"text": "It is fast again."}),
            policy=tracker,
            look=lambda: look(office),
            heard=lambda: office.changes()[before:],
            has_marks=False,
            never={Probe.IN_PROGRESS: STATE, Probe.UNKNOWN: "a ticket that is closed is closed, whoever did it"},
        )


def test_a_ticket_says_whose_it_is_and_the_step_hands_its_key_on(office: Office) -> None:
    policy = office.policy(office.site("trackers", "jira", user="bot", type="Incident", label="night"))
    context = context_in(policy)
    step = registry.build("ticket.open", {"title": TITLE, "text": "Slow."})
    change, outcome = carry_out(step, Context(**{**parts(context), "origin": lambda: "0123456789abcdef"}))
    assert change.summary == "open a ticket: Checkout is slow"
    assert outcome.data == {"ticket": "OPS-1", "url": f"{office.url}/jira/browse/OPS-1"}
    fields = office.issues["OPS-1"]["fields"]
    assert fields["labels"] == ["night-INC-1-01234567", "INC-1.1/step/1@01234567"]
    assert (fields["issuetype"], fields["project"]) == ({"name": "Incident"}, {"key": "OPS"})
    assert fields["description"] == "Slow.\n\n-- stopgap, INC-1.1/step/1"
    assert all(each.headers["authorization"].startswith("Basic ") for each in office.heard)


def parts(context: Context) -> dict[str, Any]:
    return {name: getattr(context, name) for name in ("policy", "clock", "deadline", "mark", "mode")}


def test_jira_cloud_is_searched_by_its_own_call(office: Office) -> None:
    office.deployment = "Cloud"
    policy = office.policy(office.site("trackers", "jira", user="bot@example.com"))
    opened(policy)
    assert {each.path.rpartition("/2/")[2] for each in office.heard} == {"serverInfo", "search/jql", "field", "issue"}


def test_every_run_of_an_incident_has_one_ticket(office: Office, tracker: Policy) -> None:
    opened(tracker)
    change, outcome = carry_out(registry.build("ticket.open", {"title": "Again"}), context_in(tracker, mark="INC-1.2/other/1"))
    assert (change.is_empty, outcome.changed, len(look(office))) == (True, False, 1)
    carry_out(registry.build("ticket.open", {"title": "Another"}), context_in(tracker, mark="INC-11.1/other/1"))
    assert len(look(office)) == 2


def test_an_answer_that_got_lost_opens_nothing_twice(office: Office, tracker: Policy) -> None:
    step, context = registry.build("ticket.open", {"title": TITLE}), context_in(tracker)
    change = step.plan(context)
    office.hangs_up = True
    with pytest.raises(InDoubtError, match="what became of it is not known"):
        step.apply(context, change)
    assert step.probe(context, change) is Probe.DONE
    assert len(look(office)) == 1
    assert len(office.changes()) == 1, "the library retries nothing"


def test_the_probe_waits_for_a_search_that_lags_behind(office: Office) -> None:
    policy = office.policy(office.site("trackers", "jira", settle="5s"))
    step, context = registry.build("ticket.open", {"title": TITLE}), context_in(policy)
    change, _ = carry_out(step, context)
    office.is_late = 2
    assert step.probe(context, change) is Probe.DONE


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, PermanentError, "with 400: "),
        (
            401,
            PermanentError,
            "is not the right one. It comes from: The environment variable OFFICE_PASSWORD, as policy.yaml says under trackers.default.",
        ),
        (403, PermanentError, "may not do this. It comes from: The environment variable OFFICE_PASSWORD"),
        (429, TemporaryError, "It was not taken."),
        (502, InDoubtError, "It may have happened all the same."),
    ],
)
def test_what_a_tracker_refuses_names_what_is_missing_and_shows_no_secret(
    office: Office, tracker: Policy, status: int, kind: Any, said: str
) -> None:
    office.answers = [status]
    with pytest.raises(kind) as caught:
        opened(tracker)
    assert said in str(caught.value)
    assert "not now" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_secret_that_is_not_there_says_where_to_set_it(office: Office, tracker: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OFFICE_PASSWORD")
    with pytest.raises(PermanentError) as caught:
        opened(tracker)
    assert str(caught.value).endswith(
        " cannot be asked: The environment variable OFFICE_PASSWORD holds no secret. Set it where the worker runs. Nothing was sent."
    )
    assert office.heard == []


def test_a_tracker_that_policy_does_not_know_says_which_it_knows(office: Office, tracker: Policy) -> None:
    with pytest.raises(PermanentError, match=r'^policy\.yaml knows no tracker "defaults"; it knows: default\. Did you mean "default"\?$'):
        registry.build("ticket.open", {"title": TITLE, "tracker": "defaults"}).plan(context_in(tracker))
    assert office.heard == []


def test_a_comment_needs_a_ticket_and_says_how_to_get_one(tracker: Policy) -> None:
    with pytest.raises(PermanentError, match=r'^INC-1 has no ticket in the tracker "default"\.\nOpen one first'):
        registry.build("ticket.comment", {"text": "x"}).plan(context_in(tracker))
    with pytest.raises(PermanentError, match=r"(404|has no incident OPS-9)"):
        registry.build("ticket.comment", {"text": "x", "ticket": "OPS-9"}).plan(context_in(tracker))


def test_policy_says_which_status_closes_a_ticket(office: Office) -> None:
    policy = office.policy(office.site("trackers", "jira", done="won't do"))
    opened(policy)
    carry_out(registry.build("ticket.close", {"ticket": "OPS-1"}), context_in(policy))
    assert office.issues["OPS-1"]["fields"]["status"]["name"] == "Won't do"
    assert office.issues["OPS-1"]["fields"]["comments"] == ["Closed by stopgap.\n\n-- stopgap, INC-1.1/step/1"]
    other = office.policy(office.site("trackers", "jira", done="Gone"))
    carry_out(registry.build("ticket.open", {"title": "New"}), context_in(other))
    with pytest.raises(
        PermanentError, match=r"offers no step for OPS-2 that closes it; it offers: Start \(to In Progress\), Finish \(to Done\), "
    ):
        carry_out(registry.build("ticket.close", {}), context_in(other))


def test_a_server_that_is_no_tracker_says_so(office: Office) -> None:
    policy = office.policy(office.site("trackers", "servicenow", url=f"{office.url}/jira/rest"))
    with pytest.raises(PermanentError, match=r"answered GET .* with 404"):
        opened(policy)
