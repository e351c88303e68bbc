"""Every action of the registry in a guarded process, through proxies that record what arrives: nothing that may change anything does.

They are the systems and cases of the kill matrix, so that an action without a case fails there and here.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from matrix import systems
from matrix.bench import Bench, slug
from matrix.cases import CASES
from stopgap import home
from stopgap.actions import registry
from stopgap.engine import server

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = Path(__file__).with_name("dry_child.py")
UNTRIED = {"runbook.undo": "it needs a run that has ended; tests/nested"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("dry")
    env = {name: value for name, value in server.scrubbed(os.environ).items() if not name.startswith("STOPGAP_")}
    with home.temporary() as place, systems.all_of_them(folder / "world", {**env, "STOPGAP_HOME": str(place)}) as found:
        made = Bench(folder, cast("Any", None), found, cast("Any", None))
        systems.write_policy(made.policy, found, {})
        made.write_runbooks()
        yield made


def made(bench: Bench, action: str) -> dict[str, Any]:
    """Set up what the action would change."""
    name = f"{slug(action)}-{secrets.randbelow(9_000_000) + 1_000_000}"  # others use the same cluster at the same time
    thing = CASES[action].make(bench.systems, name) or "none"
    return {"action": action, "path": str(bench.runbooks[action].path), "parameters": {"name": name, "thing": thing}}


def looked(bench: Bench, asked: list[dict[str, Any]]) -> list[Any]:
    return [CASES[each["action"]].look(bench.systems, each["parameters"]["name"]) for each in asked]


@pytest.fixture(scope="module")
def said(bench: Bench) -> dict[str, dict[str, str]]:
    """What every action did in one guarded process; the systems were set up before, and heard nothing since that may change anything."""
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda action: made(bench, action), bench.runbooks))
    before, looks = bench.systems.effects(), looked(bench, asked)
    done = subprocess.run(
        [sys.executable, str(CHILD), str(bench.policy)], input=json.dumps(asked), capture_output=True, text=True, timeout=200, check=False
    )
    after, now = bench.systems.effects(), looked(bench, asked)
    for each in asked:
        CASES[each["action"]].remove(bench.systems, each["parameters"]["name"])
    assert done.returncode == 0, done.stderr
    assert after == before, "requests that may change something arrived"
    assert now == looks
    assert bench.systems.cloud.calls, "AWS was read"
    assert bench.systems.web.asked, "HTTP was read"
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("action", registry.names())
def test_a_dry_run_plans_it_and_refuses_to_carry_it_out(bench: Bench, said: dict[str, dict[str, str]], action: str) -> None:
    if action in UNTRIED:
        pytest.skip(UNTRIED[action])
    if missing := CASES[action].lacks(bench.systems):
        pytest.skip(missing)
    assert said[action]["plan"] == ""
    if said[action]["effect"] == "changes" and action not in {"manual", "runbook.run"}:
        assert said[action]["apply"].startswith(("DryRunViolation: ", "PermanentError: A dry run ")), said[action]


WRONG = {
    "a socket of its own": "import socket; socket.create_connection(('127.0.0.1', port))",
    "a program": "import subprocess; subprocess.run(['kubectl', 'delete', 'pod', 'web'])",
    "an HTTP client of its own": "import httpx; httpx.post(f'http://127.0.0.1:{port}', trust_env=False)",
    "a signed address": "transports.http_client(context).get(f'http://127.0.0.1:{port}/?X-Amz-Signature=1&Action=RebootInstances')",
    "an effect through GET": "objects_api(context).get('/api/v1/namespaces/shop/pods/web/exec', command='reboot')",
}
WRONG_ACTION = """
import datetime, pathlib, sys
from stopgap.actions import guard, transports
from stopgap.actions.contract import Context
from stopgap.actions.kubernetes.client import connect
from stopgap.clock import SystemClock
from stopgap.policy.model import Cluster, Policy
guard.forbid_changes()
port, folder, clock = int(sys.argv[1]), pathlib.Path(sys.argv[2]), SystemClock()
(folder / "config").write_text(
    "clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:%d'}}}}]\\n"
    "users: [{{name: c, user: {{token: t}}}}]\\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\\n" % port
)
policy = Policy(clusters={{"c": Cluster(name="c", kubeconfig=folder / "config", context="c")}})
context = Context(policy=policy, clock=clock, deadline=clock.now() + datetime.timedelta(seconds=9), mark="m", mode="dry")
def objects_api(context):
    return connect(context, "c").__enter__()
class Wrong:
    def plan(self, context):
        {code}
Wrong().plan(context)
"""


@pytest.mark.parametrize("way", WRONG)
def test_a_deliberately_wrong_action_is_stopped_while_it_plans(way: str, tmp_path: Path) -> None:
    with systems.web() as heard:
        port = heard.url.rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-c", WRONG_ACTION.format(code=WRONG[way]), port, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "stopgap.actions.guard.DryRunViolation: A dry run tried" in done.stderr, done.stderr
        assert (dict(heard.asked), dict(heard.changes)) == ({}, {})
