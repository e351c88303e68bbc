"""Every runbook that comes with stopgap has a drill beside it; both are run here on the sandbox."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import fixtures_aws_things as things
import office_answers
from fixtures_engine import carry_out, statuses, texts
from stopgap.approvals.model import Answer
from stopgap.clock import SystemClock
from stopgap.drills import scenario as scenarios
from stopgap.drills import score as scoring
from stopgap.engine.work import Work
from stopgap.incidents.model import Mode, RunEnd
from stopgap.incidents.open import open_incident, request_run
from stopgap.plan import parameters
from stopgap.policy import load as policies
from stopgap.runbook import load as runbooks
from stopgap.runbook.model import Status, StepId
from stopgap.testing import ScriptedStage

if TYPE_CHECKING:
    from fixtures_aws import Cloud
    from fixtures_engine import Bench
    from fixtures_http import Service
    from fixtures_office import Office
    from stopgap.drills.world import World
    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline

FOLDER = Path(__file__).parents[2] / "runbooks"
NAMES = sorted(runbooks.load_all(FOLDER))
ANSWERS: dict[str, dict[str, tuple[str, Answer]]] = {
    "certificate-expiry": {"issue": ("ada", Answer.DONE)},
    "checkout-bad-release": {"roll_back": ("chen", Answer.APPROVE), "hold": ("chen", Answer.DONE)},
    "checkout-dependency-brownout": {"switch_off": ("ada", Answer.APPROVE)},
    "checkout-latency": {"roll_back": ("ben", Answer.APPROVE)},
    "checkout-major-outage": {"restart": ("ada", Answer.APPROVE)},
    "checkout-reroute": {"shift": ("ada", Answer.STOP)},
    "checkout-restart": {},
    "orders-database-failover": {"fail_over": ("ada", Answer.APPROVE)},
    "orders-dead-connections": {"restart": ("ada", Answer.APPROVE)},
    "orders-queue-backlog": {"stop_import": ("ben", Answer.APPROVE)},
    "zone-outage-reroute": {"reroute": ("ada", Answer.APPROVE)},
}
SECOND = {"orders-database-failover": {"fail_over": ("chen", Answer.APPROVE)}}  # where two people must approve


@pytest.fixture
def policy(tmp_path: Path, world: World, cloud: Cloud, office: Office, monkeypatch: pytest.MonkeyPatch) -> Policy:
    """The shipped policy, with its places moved to the sandbox, to moto and to the office, and without one-time codes."""
    data = yaml.safe_load((FOLDER / "policy.yaml").read_text())
    data["clusters"] = {name: {"kubeconfig": str(world.kubeconfig), "context": "sandbox"} for name in data["clusters"]}
    files = {key: str(cloud.folder / key) for key in ("config", "credentials")}
    for account in data["accounts"].values():
        account |= {"profile": "stopgap", "endpoint_url": cloud.url, **files}
    for purpose in ("trackers", "logs", "traces"):
        site = data[purpose]["default"]
        site["url"] = office_answers.base(office.url, site["kind"])
        site["secret"] = {"env": "OFFICE_PASSWORD"}
    data["logs"]["default"]["index"] = "logs-*"
    data["status_pages"]["default"]["file"] = str(tmp_path / "status.html")
    monkeypatch.setenv("ONCALL_CHAT", f"json://127.0.0.1:{office.port}/notify")
    data["approvals"]["require_code"] = False
    path = tmp_path / "shipped" / "policy.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(data))
    return policies.load(path)


@pytest.fixture
def around(bench: Bench, cloud: Cloud) -> dict[str, dict[str, Any]]:
    """What the runbooks work on beside the checkout, and the parameters that say where it is."""
    for name in ("gateway", "orders-import", "orders-worker"):
        bench.deploy(name)
    things.group(cloud, "web-b", maximum=20)
    things.database(cloud)
    _, zone = things.records(cloud, name="shop.example.com", **{"zone-a": 50, "zone-b": 50})
    url = {"url": bench.world.shop_url, "patience": "1s"}
    own = {"orders-queue-backlog": {"patience": "1s"}, "zone-outage-reroute": {**url, "zone": zone}}
    plain = {name: dict[str, Any]() for name in ("checkout-restart", "orders-database-failover")}
    return dict.fromkeys(NAMES, url) | plain | own


def work_of(timeline: Timeline, policy: Policy, name: str, *, mode: Mode, given: dict[str, str] | None = None, **values: Any) -> Work:
    runbook = runbooks.load_all(FOLDER)[name]
    incident = open_incident(timeline, title="A test", severity=runbook.severity, actor="dana", key="it", drill=mode is not Mode.LIVE)
    checked = parameters.check(runbook, values)
    run = request_run(
        timeline, incident=incident, runbook=runbook, parameters=checked, mode=mode, starter="dana", key="it", given=given, scenario=name
    )
    return Work(timeline=timeline, clock=SystemClock(), policy=policy, runbook=runbook, id=run.id, mode=mode, parameters=checked)


def told(work: Work) -> str:
    return "\n".join(f"{entry.kind}: {entry.text}" for entry in work.entries())


def drill_of(name: str) -> scenarios.Scenario:
    found = [path for path in FOLDER.rglob("*.drill.yaml") if scenarios.load(path).runbook == name]
    assert len(found) >= 1, f"{name} has no drill beside it"
    runbook = runbooks.load_all(FOLDER)[name]
    assert found[0].parent == runbook.path.parent
    return scenarios.load(found[0], runbook=runbook)


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_has_an_owner_a_review_date_and_a_drill(name: str) -> None:
    runbook = runbooks.load_all(FOLDER)[name]
    policy = policies.load(FOLDER / "policy.yaml")
    assert runbook.owner in {*policy.people, *policy.teams}
    assert runbook.reviewed is not None
    assert runbook.review_every is not None
    assert drill_of(name).title


@pytest.mark.parametrize("name", NAMES)
def test_a_drill_of_every_runbook_meets_its_expectations_and_touches_nothing(
    name: str, bench: Bench, policy: Policy, cloud: Cloud, around: dict[str, dict[str, Any]]
) -> None:
    before = bench.world.effects()
    scenario = drill_of(name)
    given = {str(step): str(status) for step, status in scenario.given.items()}
    work = work_of(bench.timeline, policy, name, mode=Mode.DRILL, given=given, **{**around[name], **scenario.parameters})
    try:
        end = carry_out(work, **ANSWERS[name])
    except ScriptedStage.StillWaiting:
        end = carry_out(work, **SECOND[name])
    result = scoring.score(scenario, work.entries(), policy=policy)
    assert result.passed, scoring.to_markdown(result)
    assert end is scenario.expect.end
    assert (bench.world.effects(), cloud.changes()) == (before, [])


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_of_every_runbook_plans_each_branch_and_touches_nothing(
    name: str, bench: Bench, policy: Policy, cloud: Cloud, around: dict[str, dict[str, Any]]
) -> None:
    before = bench.world.effects()
    work = work_of(bench.timeline, policy, name, mode=Mode.DRY, **around[name])
    assert carry_out(work) is RunEnd.DONE, told(work)
    assert {str(step.id) for step in work.runbook.steps} <= set(work.run().steps)
    assert (bench.world.effects(), cloud.changes()) == (before, [])


def test_the_outage_runbook_gathers_people_before_it_asks_and_says_afterwards_how_it_went(
    bench: Bench, policy: Policy, office: Office, tmp_path: Path, service: Service
) -> None:
    service.things["checkout"] = {}
    office.lines = [{"time": "03:00", "message": "kubernetes.labels.app:checkout AND level:error"}]
    work = work_of(bench.timeline, policy, "checkout-major-outage", mode=Mode.LIVE, url=service.url("checkout"), patience="1s")
    with pytest.raises(ScriptedStage.StillWaiting):
        carry_out(work)
    incident = work.run().incident
    (notice,), (issue,) = office.told, office.issues.values()
    assert notice["title"] == issue["fields"]["summary"] == f"{incident}: the checkout is down"
    assert f"Join https://meet.jit.si/{incident.lower()}-" in notice["message"]
    assert "orders cannot be placed" in (tmp_path / "status.html").read_text()
    assert work.run().steps[StepId("errors")].output["count"] == 1
    carry_out(work, restart=("ada", Answer.APPROVE))
    assert "We keep watching" in (tmp_path / "status.html").read_text(), told(work)
    assert len(issue["fields"]["comments"]) == 1
    assert len(office.told) == 1


def test_the_zone_runbook_takes_everything_back_when_it_does_not_help(
    bench: Bench, policy: Policy, cloud: Cloud, around: dict[str, dict[str, Any]]
) -> None:
    values = {**around["zone-outage-reroute"], "url": "http://127.0.0.1:9/"}
    work = work_of(bench.timeline, policy, "zone-outage-reroute", mode=Mode.LIVE, **values)
    answers = dict.fromkeys(("reroute", "reroute.undo", "grow.undo"), ("ada", Answer.APPROVE))
    assert carry_out(work, **answers) is RunEnd.FAILED, told(work)
    group = cloud.admin("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
    found = cloud.admin("route53").list_resource_record_sets(HostedZoneId=values["zone"])["ResourceRecordSets"]
    weights = {each["SetIdentifier"]: each["Weight"] for each in found if "Weight" in each}
    assert (group["DesiredCapacity"], weights) == (2, {"zone-a": 50, "zone-b": 50}), told(work)
    assert statuses(work.run())["reroute"] == "failed"


def test_the_latency_runbook_heals_the_demos_shop_by_its_rollback(bench: Bench, policy: Policy) -> None:
    work = work_of(bench.timeline, policy, "checkout-latency", mode=Mode.LIVE, url=bench.world.shop_url, patience="3s")
    assert carry_out(work, roll_back=("ada", Answer.APPROVE)) is RunEnd.DONE, told(work)
    assert statuses(work.run()) == {"scale": "failed", "roll_back": "done", "hand_over": "done"}
    reading = bench.world.reading()
    assert reading is not None
    assert (reading.ready, reading.errors, reading.release) == (9, 0.0, "registry.example/checkout:2.4.0")
    assert texts(work, "step.finished")[-1] == (
        "Leave word for the day shift: Capacity: failed. Rollback: done. The checkout answers within 0.5 s; find out what the last release did."
    )


def test_the_reroute_runbook_moves_the_traffic_and_asks_for_the_manual_step(bench: Bench, policy: Policy) -> None:
    work = work_of(bench.timeline, policy, "checkout-reroute", mode=Mode.LIVE, url=bench.world.shop_url, patience="3s")
    assert carry_out(work, shift=("chen", Answer.APPROVE), tell=("ada", Answer.DONE)) is RunEnd.DONE, told(work)
    assert statuses(work.run()) == {"is_stable_up": "done", "grow": "done", "shift": "done", "tell": "done"}
    reading = bench.world.reading()
    assert reading is not None
    assert (reading.ready, reading.errors, reading.release) == (6, 0.0, "registry.example/checkout:2.4.0")


def test_a_slow_decision_by_the_wrong_person_is_scored(bench: Bench, policy: Policy) -> None:
    scenario = drill_of("checkout-latency")
    given = {str(step): str(status) for step, status in scenario.given.items()}
    work = work_of(bench.timeline, policy, "checkout-latency", mode=Mode.DRILL, given=given)
    assert carry_out(work, roll_back=("ben", Answer.STOP)) is RunEnd.REJECTED, told(work)
    result = scoring.score(scenario, work.entries(), policy=policy)
    assert not result.passed
    assert [(decision.step, decision.answer, decision.by, decision.rounds) for decision in result.decisions] == [
        ("roll_back", "stop the run", "ben", 1)
    ]
    assert {check.about: (check.expected, check.found) for check in result.checks if not check.held} == {
        "the run": ("done", "rejected"),
        "step roll_back": ("done", "rejected"),
        "step hand_over": ("done", "not reached"),
        "decision on roll_back": ("approve", "stop the run"),
    }
    assert result.took < timedelta(minutes=1)
    text = scoring.to_markdown(result)
    assert text.startswith("# Drill checkout-latency-night\n\nAt three in the morning the checkout takes two seconds;")
    assert "| decision on roll\\_back | approve | stop the run | **no** |" in text


def test_what_is_assumed_is_typed() -> None:
    scenario = drill_of("checkout-latency")
    assert scenario.given == {"scale": Status.FAILED, "roll_back": Status.DONE}
    expected = scenario.expect.decisions["roll_back"]  # type: ignore[index]
    assert (expected.answer, expected.within, expected.by) == (Answer.APPROVE, timedelta(minutes=3), "incident-commander")
