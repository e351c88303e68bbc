"""The allow-lists of the guarded transports."""

from __future__ import annotations

import pytest

from stopgap.actions import guard

BASE = "https://api.example:6443"
PODS = "/api/v1/namespaces/shop/pods"


@pytest.mark.parametrize(
    "path",
    [
        "/apis/apps/v1/namespaces/shop/deployments/web",
        "/apis/apps/v1/namespaces/shop/deployments/proxy",
        "/api/v1/namespaces/exec/pods",
        f"{PODS}/web-1/log?tailLines=5",
        f"{PODS}?labelSelector=app%3Dweb",
        "/version",
    ],
)
def test_reading_passes(path: str) -> None:
    guard.check_kubernetes("GET", BASE + path)


@pytest.mark.parametrize(
    "path",
    [
        f"{PODS}/web-1/exec?command=reboot",
        f"{PODS}/web-1/attach",
        f"{PODS}/web-1/portforward",
        f"{PODS}/web-1/proxy/admin/reload",
        "/api/v1/namespaces/shop/services/web:80/proxy/",
        "/api/v1/nodes/node-a/proxy/run/shop/web-1/web",
        "/api/v1/proxy/namespaces/shop/pods/web-1",
        f"{PODS}/web-1/%65xec",
        f"{PODS}/x/../web-1/exec",
        f"/{PODS}/web-1/exec",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_subresources_that_act_are_refused_however_they_are_written(method: str, path: str) -> None:
    with pytest.raises(guard.DryRunViolation, match=r"^A dry run tried (GET|POST) https://.* Nothing was sent\.$"):
        guard.check_kubernetes(method, f"{BASE}{path}")
    with pytest.raises(guard.DryRunViolation):
        guard.check_kubernetes(method, f"{BASE}{path}{'&' if '?' in path else '?'}dryRun=All")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post"])
def test_a_change_passes_only_as_the_servers_own_dry_run(method: str) -> None:
    url = f"{BASE}/apis/apps/v1/namespaces/shop/deployments/web"
    guard.check_kubernetes(method, f"{url}?dryRun=All")
    guard.check_kubernetes(method, f"{url}?fieldManager=x&dryRun=All")
    for query in ("", "?dryRun=", "?dryRun=None", "?dryrun=All", "?dryRun=All&dryRun=", "?x=dryRun=All", "#?dryRun=All"):
        with pytest.raises(guard.DryRunViolation):
            guard.check_kubernetes(method, url + query)


def test_an_aggregated_api_is_not_trusted_to_honour_dry_run() -> None:
    with pytest.raises(guard.DryRunViolation):
        guard.check_kubernetes("PATCH", f"{BASE}/apis/example.com/v1/namespaces/shop/valves/main?dryRun=All")


def test_asking_what_one_may_do_passes() -> None:
    guard.check_kubernetes("POST", f"{BASE}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    with pytest.raises(guard.DryRunViolation):
        guard.check_kubernetes("POST", f"{BASE}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_plain_http_is_read_with_get_and_head_alone(method: str) -> None:
    guard.check_http("GET", "http://shop.example/")
    guard.check_http("HEAD", "http://shop.example/")
    with pytest.raises(
        guard.DryRunViolation, match=rf"^A dry run tried {method} http://shop.example/; it may send only GET and HEAD. Nothing was sent.$"
    ):
        guard.check_http(method, "http://shop.example/")
