"""A cluster for a test: the sandbox, and the real control plane that STOPGAP_TEST_KUBECONFIG names; a namespace of its own on each."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes import config as untyped_config

from stopgap.drills.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

config: Any = untyped_config
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A namespace on a cluster. Kubeconfigs of responder, viewer and nobody lie beside the administrator's."""

    kubeconfig: Path
    context: str
    namespace: str
    is_real: bool

    def kubeconfig_of(self, user: str) -> Path:
        return self.kubeconfig.with_name(f"{user}.kubeconfig")

    def api(self, user: str = "admin") -> client.ApiClient:
        path = self.kubeconfig if user == "admin" else self.kubeconfig_of(user)
        made: client.ApiClient = config.new_client_from_config(str(path), context=self.context)
        return made


def wait_until(holds: Callable[[], Any], *, within: float = 60.0, or_say: Callable[[], Any] | None = None) -> Any:
    """Ask until the answer is true, and return it; controllers are slow on a loaded machine. `or_say` tells what was there instead."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"still not so after {within} s: {holds.__name__}, last answer {(or_say or holds)()}")


def deployment(image: str = "registry.example/web:1", *, replicas: int = 1, name: str = "web", track: str = "current") -> dict[str, Any]:
    labels = {"app": "web", "track": track}
    container = {"name": "app", "image": image, "env": [{"name": "MODE", "value": "plain"}]}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container, {"name": "sidecar", "image": "registry.example/side:1"}]},
    }
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "world") as world:
        yield world


@pytest.fixture(params=["sandbox", "real"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "real":
        yield from _real()
        return
    world: World = request.getfixturevalue("world")
    here = Place(kubeconfig=world.kubeconfig, context="sandbox", namespace=f"t-{uuid.uuid4().hex[:8]}", is_real=False)
    with _namespace(here):
        yield here


def _real() -> Iterator[Place]:
    named = os.environ.get("STOPGAP_TEST_KUBECONFIG")
    if not named:
        pytest.skip("STOPGAP_TEST_KUBECONFIG names no disposable Kubernetes cluster")
    contexts, current = config.list_kube_config_contexts(named)
    here = Place(kubeconfig=Path(named), context=(current or contexts[0])["name"], namespace=f"t-{uuid.uuid4().hex[:8]}", is_real=True)
    with _namespace(here):
        yield here


@dataclass(slots=True)
class _namespace:  # noqa: N801  reads as a with-block
    place: Place
    core: Any = None

    def __enter__(self) -> None:
        self.core = client.CoreV1Api(self.place.api())
        self.core.create_namespace({"metadata": {"name": self.place.namespace}})

    def __exit__(self, *_: object) -> None:
        self.core.delete_namespace(self.place.namespace)
        self.core.api_client.close()


@pytest.fixture
def apps(place: Place) -> Iterator[Any]:
    with place.api() as api:
        yield client.AppsV1Api(api)


@pytest.fixture
def core(place: Place) -> Iterator[Any]:
    with place.api() as api:
        yield client.CoreV1Api(api)
