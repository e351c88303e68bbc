"""What holds for every action, tried for Jobs, on a real control plane."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures_cluster import TEST, Place, context_in
from stopgap.actions.contract import PermanentError, Probe
from stopgap.actions.kubernetes.job import Job, lasting
from stopgap.testing.actions import ActionContract, Scene

pytestmark = pytest.mark.parametrize("cluster", ["real"], indirect=True)


def test_a_finished_job_stays_long_enough_for_a_probe(cluster: Place) -> None:
    assert cluster.kind == "real"  # it drops the field, which it does not know yet
    assert lasting({"ttlSecondsAfterFinished": 1}) == {"ttlSecondsAfterFinished": 7 * 24 * 3600}
    assert lasting({"completions": 1}) == {"completions": 1}


def cron_job(place: Place, **spec: Any) -> None:
    """A CronJob whose Jobs complete at once, unless `spec` says otherwise: they want no Pod."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "shop/purge:1", "command": ["purge", "--all"]}]}}
    job = {"completions": 0, "parallelism": 0, "ttlSecondsAfterFinished": 1, "template": template, **spec}
    body = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    place.create("cronjobs", {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "purge"}, "spec": body})


class TestJob(ActionContract):
    @pytest.fixture
    def scene(self, cluster: Place) -> Scene:
        cron_job(cluster)
        endless = {"spec": {"jobTemplate": {"spec": {"completions": 1, "parallelism": 1}}}}
        return Scene(
            action=Job(cluster=TEST, namespace=cluster.namespace, cronjob="purge"),
            policy=cluster.policy,
            look=lambda: sorted(it["metadata"]["name"] for it in cluster.get("jobs")["items"]),
            stall=lambda: cluster.patch("cronjobs", "purge", endless),
            never={Probe.UNKNOWN: "shown below with a Job that failed"},
        )


def test_a_job_that_failed_fails_the_step_and_is_for_a_human_to_judge(cluster: Place) -> None:
    cron_job(cluster, completions=1, parallelism=1, activeDeadlineSeconds=1)
    step, context = Job(cluster=TEST, namespace=cluster.namespace, cronjob="purge"), context_in(cluster.policy)
    change = step.plan(context)
    assert change.after["c: runs"] == "shop/purge:1 purge --all"
    with pytest.raises(
        PermanentError, match=r"^purge-[0-9a-f]{12} failed: DeadlineExceeded: Job was active longer than specified deadline\.$"
    ):
        step.apply(context, change)
    assert step.probe(context, change) is Probe.UNKNOWN


def test_a_job_is_run_from_a_template_in_the_step(cluster: Place) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "shop/fix:1"}]}
    template = {"completions": 0, "parallelism": 0, "template": {"spec": pod}}
    step = Job(cluster=TEST, namespace=cluster.namespace, job="fix", template=template)
    context = context_in(cluster.policy)
    assert step.apply(context, step.plan(context)).summary.endswith(": completed")
