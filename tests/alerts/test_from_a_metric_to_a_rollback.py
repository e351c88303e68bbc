"""A real Prometheus, real Alertmanagers, a real control plane: a release fails for the users, and stopgap takes it back.

The metric crosses its threshold, the alert opens an incident, the runbook starts, the incident commander approves, the release is taken back,
Prometheus says so, the alert is over, the incident is mitigated. All of it is read from the timeline.
"""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml
from playwright.sync_api import expect

from fixtures_alerts import STOPGAP, everything
from fixtures_browser import fill_in, log_in, open_form
from fixtures_cluster import GOOD, place_in
from fixtures_monitoring import BAD, METRIC, alertmanagers, exporting, prometheus
from fixtures_traffic import free_port, needed
from stopgap.timeline import open as opening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from fixtures_alerts import Everything
    from fixtures_cluster import Place
    from stopgap.timeline.entry import Entry
    from stopgap.timeline.store import PostgresTimeline

POLICY = """\
apiVersion: stopgap/v1
kind: Policy
people: {{ada: {{name: Ada Amari}}}}
teams: {{oncall: [ada]}}
roles: {{incident-commander: {{holders: [ada]}}}}
approvals: {{require_code: false}}
clusters: {{prod: {{kubeconfig: {kubeconfig}, context: {context}}}}}
prometheus: {{default: "http://127.0.0.1:{prometheus}"}}
alerts:
  sources:
    alertmanager:
      secret: {{env: TEST_ALERT_TOKEN}}
      severities: {{critical: SEV1}}
"""
RUNBOOK = f"""\
apiVersion: stopgap/v1
kind: Runbook
name: bad-release
title: A release fails
description: Goes back to the release before.
owner: oncall
severity: SEV2
defaults: {{cluster: prod}}
parameters:
  namespace: {{type: string, title: Namespace}}
triggers:
  - source: alertmanager
    match: {{alertname: CheckoutFails, severity: critical}}
    parameters: {{namespace: "${{{{ alert.labels.namespace }}}}"}}
    cooldown: 15m
    expires: 10m
steps:
  - id: roll_back
    name: Go back to the release before
    uses: kubernetes.rollback
    with: {{deployment: checkout, namespace: "${{{{ params.namespace }}}}"}}
    timeout: 2m
    approval: {{by: [incident-commander]}}
    verify:
      uses: prometheus.wait
      with: {{query: '{METRIC}{{namespace="${{{{ params.namespace }}}}"}}', below: 0.01, within: 2m, every: 1s}}
"""
WHOLE = [
    "incident.opened", "alert.opened", "run.requested", "run.scheduled", "run.started", "gate.asked", "gate.decided", "step.started", "step.finished",
    "run.finished",
]  # fmt: skip


@pytest.fixture(scope="module")
def up(real_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Everything, int]]:
    """`stopgap up`, and the port at which it expects Prometheus; skipped where a program or the cluster is missing."""
    for program in ("prometheus", "prometheus-alertmanager"):
        needed(program)
    rules, port = tmp_path_factory.mktemp("runbooks"), free_port()
    context = yaml.safe_load(real_kubeconfig.read_text())["contexts"][0]["name"]
    (rules / "policy.yaml").write_text(POLICY.format(kubeconfig=real_kubeconfig, context=context, prometheus=port))
    (rules / "bad-release.yaml").write_text(RUNBOOK)
    with pytest.MonkeyPatch.context() as patch, everything(rules, patch) as found:
        yield found, port


@pytest.fixture(scope="module")
def timeline(up: tuple[Everything, int]) -> Iterator[PostgresTimeline]:
    assert up
    with opening.timeline() as found:
        yield found


@pytest.fixture
def place(real_kubeconfig: Path) -> Iterator[Place]:
    """A Deployment of which the first release is good."""
    with place_in(real_kubeconfig, kind="real") as found:
        found.deploy("checkout", image=GOOD)
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The incident of one place, as the timeline tells it."""

    timeline: PostgresTimeline
    place: Place

    def entries(self) -> tuple[Entry, ...]:
        opened = [each for each in self.timeline.of_kind("alert.opened") if each.data["labels"]["namespace"] == self.place.namespace]
        return self.timeline.of_chain(opened[0].chain) if opened else ()

    def entry_of(self, kind: str) -> Entry:
        """Wait for the first entry of a kind."""
        ends = time.monotonic() + 150
        while not (found := [entry for entry in self.entries() if entry.kind == kind]):
            assert time.monotonic() < ends, [f"{entry.kind} {entry.text}" for entry in self.entries()]
            time.sleep(0.1)
        return found[0]

    def require_told_by_two(self) -> None:
        """Wait until both receivers have accepted the alert of this place."""
        ends = time.monotonic() + 30
        while len({each.chain for each in self.timeline.of_kind("alert.received") if self.place.namespace in each.text}) < 2:
            assert time.monotonic() < ends
            time.sleep(0.1)

    def require_mitigated_by_one_run(self) -> None:
        """Everything happened, in order, once; and the recovery that the run caused has started nothing."""
        incidents = len(self.timeline.chains())
        ends = [self.entry_of(kind) for kind in ("run.finished", "incident.mitigated")]
        assert ends[0].data["end"] == "done"
        found = self.entries()
        kinds = [entry.kind for entry in found]
        assert [kind for kind in kinds if kind in WHOLE] == WHOLE
        assert kinds.index("step.started") < kinds.index("alert.resolved") < kinds.index("incident.mitigated")
        assert {entry.run for entry in found if entry.run} == {f"{found[0].incident}.1"}
        (resolved,) = [entry.text for entry in found if entry.kind == "alert.resolved"]
        assert resolved.startswith(f"Checkouts fail in {self.place.namespace}: over, says alertmanager.")
        assert self.place.get("deployments", "checkout")["spec"]["template"]["spec"]["containers"][0]["image"] == GOOD
        assert len(self.timeline.chains()) == incidents
        assert self.timeline.verify().damages == ()


@pytest.fixture
def watched(timeline: PostgresTimeline, place: Place) -> Watched:
    return Watched(timeline=timeline, place=place)


def test_the_commander_approves_in_the_browser_and_the_incident_is_mitigated(
    page: Page, up: tuple[Everything, int], place: Place, watched: Watched, tmp_path: Path
) -> None:
    stopgap, port = up
    with ExitStack() as stack:
        monitor(stack, tmp_path, place, port, [f"{stopgap.running['alerts_url']}alertmanager"])
        place.release("checkout", BAD)
        watched.entry_of("gate.asked")
        flow_run = watched.entry_of("run.scheduled").data["flow_run"]
        log_in(page, f"{stopgap.running['ui_url']}/login?redirect=/runs/flow-run/{flow_run}", auth_of(stopgap))
        open_form(page)
        fill_in(page, "approve", "ada", "the graph says so")
        page.get_by_role("button", name="Submit").click()
        expect(page.get_by_text(re.compile("^(Resuming|Scheduled|Pending|Running|Completed)$")).first).to_be_visible()
        watched.require_mitigated_by_one_run()


def test_two_receivers_behind_two_alertmanagers_start_one_run_and_either_may_die(
    up: tuple[Everything, int], place: Place, watched: Watched, tmp_path: Path
) -> None:
    stopgap, port = up
    with ExitStack() as stack:
        other, second = stack.enter_context(receiver(stopgap))
        managers = monitor(stack, tmp_path, place, port, [f"{stopgap.running['alerts_url']}alertmanager", second])
        place.release("checkout", BAD)
        gate = watched.entry_of("gate.asked")
        watched.require_told_by_two()
        for process in (other, managers[1]):
            process.kill()
        approved = stopgap.stopgap("approve", gate.run, "--as", "ada", "--reason", "the graph says so", "--yes")
        assert approved.returncode == 0, approved.stderr
        watched.require_mitigated_by_one_run()


def monitor(stack: ExitStack, folder: Path, place: Place, port: int, urls: list[str]) -> list[subprocess.Popen[bytes]]:
    """Start Prometheus at the port and an Alertmanager for each address that is posted to; return the Alertmanagers."""
    exporter, managers = stack.enter_context(exporting(place)), stack.enter_context(alertmanagers(folder, urls))
    stack.enter_context(prometheus(folder, port=port, exporter=exporter, alertmanagers=[at for at, _ in managers]))
    return [process for _, process in managers]


def auth_of(stopgap: Everything) -> str:
    return str(stopgap.running["environment"]["PREFECT_API_AUTH_STRING"])


@contextmanager
def receiver(stopgap: Everything) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One more receiver beside the one of `up`; yields its process and where alerts are posted to it."""
    process = subprocess.Popen([*STOPGAP, "serve", "--port", "0"], env=stopgap.env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"(http://\S+/alerts/)<source>", line):
                break
        else:
            raise AssertionError(f"stopgap serve ended with {process.wait()}")
        yield process, f"{found.group(1)}alertmanager"
    finally:
        process.kill()
        process.communicate()
