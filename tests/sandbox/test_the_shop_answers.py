"""The shop's latency and errors follow from traffic, ready Pods and their release; the demo's incident is mitigated by a rollback alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kubernetes import client

from fixtures_sandbox import STRATEGIC, config, wait_until
from stopgap.drills.world import Pace, Release, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def shop(world: World) -> World:
    world.seed_demo()
    return world


@pytest.fixture
def apps(world: World) -> Iterator[Any]:
    with config.new_client_from_config(str(world.kubeconfig), context="sandbox") as api:
        yield client.AppsV1Api(api)


def test_the_demo_begins_with_a_bad_release_over_a_good_one(shop: World, apps: Any) -> None:
    found = apps.read_namespaced_deployment("checkout", "shop")
    assert (found.spec.replicas, found.status.ready_replicas) == (3, 3)
    assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "2"
    sets = apps.list_namespaced_replica_set("shop", label_selector="track=current").items
    images = {item.metadata.annotations["deployment.kubernetes.io/revision"]: item.spec.template.spec.containers[0].image for item in sets}
    assert images == {"1": "registry.example/checkout:2.4.0", "2": "registry.example/checkout:2.4.1"}
    assert shop.effects() == ()


def test_more_pods_do_not_heal_a_bad_release_and_the_good_one_does(shop: World, apps: Any) -> None:
    def state() -> tuple[int, bool]:
        reading = shop.reading()
        assert reading is not None
        return reading.ready, reading.latency < 0.5 and reading.errors == 0

    assert state() == (3, False)
    apps.patch_namespaced_deployment("checkout", "shop", {"spec": {"replicas": 9}}, _content_type=STRATEGIC)
    wait_until(lambda: state() == (9, False))
    container = {"name": "app", "image": "registry.example/checkout:2.4.0"}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    apps.patch_namespaced_deployment("checkout", "shop", patch, _content_type=STRATEGIC)
    wait_until(lambda: state() == (9, True))
    assert [effect["verb"] for effect in shop.effects()] == ["patch", "patch"]


def test_the_stable_deployment_takes_the_traffic_when_the_service_is_switched(shop: World) -> None:
    with config.new_client_from_config(str(shop.kubeconfig), context="sandbox") as api:
        core: Any = client.CoreV1Api(api)
        core.patch_namespaced_service("checkout", "shop", {"spec": {"selector": {"track": "stable"}}}, _content_type=STRATEGIC)
    reading = shop.reading()
    assert reading is not None
    assert (reading.release, reading.errors, round(reading.latency, 2)) == ("registry.example/checkout:2.4.0", 0.0, 0.16)


def test_the_latency_is_waited_and_the_errors_are_answered(shop: World) -> None:
    shop.releases({"registry.example/checkout:2.4.1": Release(seconds=0.2, capacity=30.0, errors=0.5)})
    began = time.monotonic()
    codes = [httpx.get(shop.shop_url, timeout=10).status_code for _ in range(4)]
    assert sorted(codes) == [200, 200, 503, 503]
    assert time.monotonic() - began >= 4 * 0.2


def test_traffic_decides_whether_the_good_release_copes(shop: World) -> None:
    shop.releases({})
    for rps, copes in ((10.0, True), (45.0, True), (61.0, False)):
        shop.traffic(rps)
        reading = shop.reading()
        assert reading is not None
        assert (reading.errors == 0 and reading.latency < 0.5) is copes


def test_a_service_without_ready_pods_fails_at_once(shop: World) -> None:
    with config.new_client_from_config(str(shop.kubeconfig), context="sandbox") as api:
        core: Any = client.CoreV1Api(api)
        core.patch_namespaced_service("checkout", "shop", {"spec": {"selector": {"track": "absent"}}}, _content_type=STRATEGIC)
    assert httpx.get(shop.shop_url).status_code == 503


def test_an_unknown_service_is_not_found(shop: World) -> None:
    assert httpx.get(f"{shop.url}/shop/absent").json() == {"error": "there is no service absent in the namespace shop"}


def test_traffic_is_set_over_http_and_refused_when_it_makes_no_sense(shop: World) -> None:
    assert httpx.post(f"{shop.url}/world/traffic", json={"rps": 12}).json() == {"rps": 12.0}
    assert httpx.get(f"{shop.url}/world/shop").json()["rps"] == 12.0
    wrongs: list[Any] = [{"rps": -1}, {"rps": "many"}, {"rps": True}, {}, []]
    for wrong in wrongs:
        answer = httpx.post(f"{shop.url}/world/traffic", json=wrong)
        assert (answer.status_code, answer.json()) == (400, {"error": 'write {"rps": 45}: requests a second, 0 or more'})


def patch_of(world: World, replicas: int, **query: str) -> httpx.Response:
    url = f"{world.url}/apis/apps/v1/namespaces/shop/deployments/checkout"
    headers = {"Authorization": "Bearer sandbox-admin", "Content-Type": STRATEGIC}
    return httpx.patch(url, params=query, headers=headers, content=json.dumps({"spec": {"replicas": replicas}}))


def test_effects_are_counted_and_dry_runs_and_refusals_are_none(shop: World) -> None:
    assert patch_of(shop, 5, dryRun="All").status_code == 200
    assert patch_of(shop, -5).status_code == 422
    assert patch_of(shop, 5).status_code == 200
    assert patch_of(shop, 5).status_code == 200
    told = httpx.get(f"{shop.url}/world/effects").json()
    assert told["count"] == 2
    assert [(effect["resource"], effect["name"], effect["changed"]) for effect in told["effects"]] == [
        ("apps/deployments", "checkout", True),
        ("apps/deployments", "checkout", False),
    ]


def test_an_answer_can_get_lost_before_and_after_the_effect(shop: World) -> None:
    shop.fault("lost_before")
    with pytest.raises(httpx.RemoteProtocolError):
        patch_of(shop, 5)
    assert shop.effects() == ()
    shop.fault("lost_after")
    with pytest.raises(httpx.RemoteProtocolError):
        patch_of(shop, 5)
    assert len(shop.effects()) == 1
    shop.fault("refused")
    assert patch_of(shop, 6).status_code == 503
    assert patch_of(shop, 6).status_code == 200


def test_an_answer_can_come_late(shop: World) -> None:
    shop.fault("late", seconds=0.3)
    began = time.monotonic()
    assert patch_of(shop, 5).status_code == 200
    assert time.monotonic() - began >= 0.3


def test_an_unknown_token_is_unauthorized(shop: World) -> None:
    answer = httpx.get(f"{shop.url}/api/v1/namespaces/shop/pods", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")


def test_what_is_not_json_is_a_bad_request(shop: World) -> None:
    url = f"{shop.url}/apis/apps/v1/namespaces/shop/deployments/checkout"
    headers = {"Authorization": "Bearer sandbox-admin", "Content-Type": STRATEGIC}
    assert httpx.patch(url, headers=headers, content=b"{").json()["reason"] == "BadRequest"
    assert httpx.patch(url, headers=headers, content=b"[1]").json()["reason"] == "BadRequest"
    assert httpx.patch(url, headers={**headers, "Content-Type": "text/plain"}, content=b"{}").status_code == 415


def test_two_worlds_stand_side_by_side_and_end_cleanly(tmp_path: Path) -> None:
    with World(tmp_path / "one") as one, World(tmp_path / "two", pace=Pace()) as two:
        assert one.url != two.url
        url = one.url
        assert httpx.get(f"{url}/readyz").text == "ok"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/readyz")


def test_the_kubeconfigs_are_private(world: World) -> None:
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in world.home.iterdir()}
    assert modes == {f"{user}.kubeconfig": "0o600" for user in ("admin", "responder", "viewer", "nobody")}


def test_the_sandbox_runs_as_a_process_and_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stopgap.drills.world", "--home", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert httpx.get(f"{ready['url']}/readyz").text == "ok"
        assert (ready["kubeconfig"], ready["pid"]) == (str(tmp_path / "admin.kubeconfig"), process.pid)
        assert httpx.get(f"{ready['url']}/world/shop").json()["release"] == "registry.example/checkout:2.4.1"
    assert process.wait(timeout=10) == 0
