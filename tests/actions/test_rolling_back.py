"""`kubernetes.rollback` against a cluster."""

from __future__ import annotations

import pytest

from fixtures_cluster import BETTER, BROKEN, GOOD, TEST, Place, carry_out, context_in
from stopgap.actions.contract import PermanentError, Probe
from stopgap.actions.kubernetes.rollback import Rollback


def rollback(place: Place, revision: int | None = None) -> Rollback:
    return Rollback(cluster=TEST, namespace=place.namespace, deployment="web", revision=revision)


def image_of(place: Place) -> str:
    return str(place.get("deployments", "web")["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_bad_release_is_taken_back_to_the_last_good_one(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    cluster.release("web", BROKEN, ready=False)
    context, step = context_in(cluster.policy), rollback(cluster)
    change, outcome = carry_out(step, context)
    assert change.summary == f"web: revision 2 -> 1 ({BROKEN} -> {GOOD})"
    assert dict(change.now) == {"web: image": BROKEN}
    assert dict(change.after) == {"web: image": GOOD}
    assert (change.checked, change.notes) == ("server", ("revision 1 has available Pods now",))
    assert (image_of(cluster), outcome.data["revision"]) == (GOOD, 3)
    assert step.probe(context, change) is Probe.DONE


def test_the_undo_rolls_forward_to_the_revision_that_was(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    cluster.release("web", BETTER)
    change, _ = carry_out(rollback(cluster), context_in(cluster.policy))
    undo = rollback(cluster).undo(change)
    assert isinstance(undo, Rollback)
    assert undo.revision == 2
    back, _ = carry_out(undo, context_in(cluster.policy, mark="INC-1.1/undo/1"))
    assert dict(back.now) == dict(change.after), "the undo finds what the step left behind"
    assert image_of(cluster) == BETTER


def test_a_named_revision_is_taken_and_an_unknown_one_refused(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    cluster.release("web", BETTER)
    cluster.release("web", "shop/web:3")
    change, _ = carry_out(rollback(cluster, 1), context_in(cluster.policy))
    assert (change.undo["wanted"], image_of(cluster)) == (1, GOOD)
    with pytest.raises(PermanentError, match=r"^web has no revision 9. Kubernetes still keeps: 4, 3, 2.$"):
        rollback(cluster, 9).plan(context_in(cluster.policy))


def test_values_of_the_environment_are_compared_and_never_shown(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    secret = {"containers": [{"name": "web", "env": [{"name": "GREETING", "value": "s3cret"}]}]}
    cluster.patch("deployments", "web", {"spec": {"template": {"spec": secret}}})
    cluster.until_ready("web")
    change = rollback(cluster).plan(context_in(cluster.policy))
    assert set(change.now) == {"web: env GREETING"}
    assert change.now["web: env GREETING"] != change.after["web: env GREETING"]
    assert "s3cret" not in str(change.to_json())


def test_a_plan_made_twice_has_one_digest(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    cluster.release("web", BETTER)
    first = rollback(cluster).plan(context_in(cluster.policy))
    cluster.patch("deployments", "web", {"metadata": {"annotations": {"some": "thing"}}})
    second = rollback(cluster).plan(context_in(cluster.policy, mark="INC-1.1/step/2"))
    assert (first.digest, first.precondition != second.precondition) == (second.digest, True)


def test_without_an_older_revision_there_is_nothing_to_go_back_to(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    with pytest.raises(
        PermanentError, match=r"^web has no older revision that was good. Kubernetes still keeps: 1. Name one with `revision:`.$"
    ):
        rollback(cluster).plan(context_in(cluster.policy))


def test_a_template_that_somebody_changed_since_is_no_longer_ours(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    cluster.release("web", BETTER)
    change, _ = carry_out(rollback(cluster), context_in(cluster.policy))
    cluster.release("web", "shop/web:4")
    assert rollback(cluster).probe(context_in(cluster.policy), change) is Probe.UNKNOWN
    assert rollback(cluster).probe(context_in(cluster.policy, mark="INC-2.1/step/1"), change) is Probe.NOT_DONE


@pytest.mark.parametrize("cluster", ["real"], indirect=True)
def test_a_revision_that_never_became_available_is_passed_over(cluster: Place) -> None:
    cluster.deploy(image=GOOD)
    cluster.release("web", BROKEN, ready=False)
    cluster.until("deployments", "web", lambda it: it["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2")
    cluster.release("web", BETTER)
    change = rollback(cluster).plan(context_in(cluster.policy))
    assert change.summary == f"web: revision 3 -> 1 ({BETTER} -> {GOOD})"
