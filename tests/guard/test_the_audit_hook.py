"""What the interpreter refuses once `forbid_changes` or `only_loopback` was called; each case in a process of its own, for a hook stays."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fixtures_cluster import Place


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def run(code: str, *arguments: object) -> str:
    """Run the code after the guard was imported; its last line of output, or the last of its traceback."""
    prelude = "import sys, socket, os, subprocess\nfrom stopgap.actions import guard\nport = int(sys.argv[1]) if sys.argv[1:] else 0\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.spawnv(os.P_WAIT, '/bin/true', ['true'])",
        "os.popen('true')",
        "import multiprocessing as m; m.get_context('fork').Process().start()",
        "import asyncio; asyncio.run(asyncio.create_subprocess_exec('true'))",
    ],
)
def test_no_program_is_started(code: str) -> None:
    assert run(f"guard.forbid_changes()\n{code}").startswith("stopgap.actions.guard.DryRunViolation: A dry run tried to start a program (")


@pytest.mark.parametrize(
    "code",
    [
        "socket.create_connection(('127.0.0.1', port))",
        "socket.socket().connect_ex(('127.0.0.1', port))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
        "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
        "import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{port}')",
        "import httpx; httpx.get(f'http://127.0.0.1:{port}', trust_env=False)",
        "import urllib3; urllib3.PoolManager().request('GET', f'http://127.0.0.1:{port}')",
        "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', port))",
        "import threading\nwith guard.passage():\n  t = threading.Thread(target=socket.create_connection, args=(('127.0.0.1', port),)); t.start(); t.join()",
    ],
)
def test_nothing_connects_past_the_guarded_transports(code: str, port: int) -> None:
    assert "DryRunViolation: A dry run tried to connect to " in run(f"guard.forbid_changes()\n{code}", port)


def test_the_addresses_of_our_own_stay_reachable(port: int) -> None:
    assert (
        run("guard.forbid_changes([('localhost', port)])\nsocket.create_connection(('127.0.0.1', port)).close()\nprint('reached')", port)
        == "reached"
    )


def test_a_guarded_client_reads_and_cannot_write(port: int) -> None:
    code = """
import datetime
from stopgap.actions import contract, transports
from stopgap.clock import SystemClock
from stopgap.policy.model import Policy
clock = SystemClock()
context = contract.Context(policy=Policy(), clock=clock, deadline=clock.now() + datetime.timedelta(seconds=9), mark="", mode="dry")
guard.forbid_changes()
with transports.http_client(context) as client:
    print(client.get(f"http://127.0.0.1:{port}/").status_code)
    client.post(f"http://127.0.0.1:{port}/")
"""
    assert run(code, port).startswith("stopgap.actions.guard.DryRunViolation: A dry run tried POST http://127.0.0.1:")


def test_a_dry_run_plans_on_a_cluster_in_a_process_that_may_change_nothing(cluster: Place) -> None:
    cluster.deploy(replicas=1)
    code = """
import datetime, pathlib
from stopgap.actions import contract, registry
from stopgap.clock import SystemClock
from stopgap.policy.model import Cluster, Policy
guard.forbid_changes()
kubeconfig, name, namespace = sys.argv[2:]
policy = Policy(clusters={"test": Cluster(name="test", kubeconfig=pathlib.Path(kubeconfig), context=name)})
clock = SystemClock()
context = contract.Context(policy=policy, clock=clock, deadline=clock.now() + datetime.timedelta(seconds=20), mark="m", mode="dry")
step = registry.build("kubernetes.scale", {"deployment": "web", "replicas": 2}, defaults={"cluster": "test", "namespace": namespace})
change = step.plan(context)
print(change.summary, change.checked)
"""
    assert run(code, 0, cluster.kubeconfig, cluster.context, cluster.namespace) == "web: 1 -> 2 replicas server"


@pytest.mark.parametrize("address", ["('192.0.2.1', 80)", "('2001:db8::1', 80)", "('10.0.0.1', 80)", "('::ffff:192.0.2.1', 80)"])
def test_only_loopback_refuses_what_would_leave_the_machine(address: str) -> None:
    family = "AF_INET6" if "::" in address else "AF_INET"
    said = run(f"guard.only_loopback()\nsocket.socket(socket.{family}).connect({address})")
    assert said.startswith("stopgap.actions.guard.OutsideAddressError: This process may reach loopback addresses alone, and tried ")


def test_only_loopback_lets_loopback_and_programs_pass(port: int) -> None:
    code = "guard.only_loopback()\nsocket.create_connection(('localhost', port)).close()\nsubprocess.run(['true'])\nprint('reached')"
    assert run(code, port) == "reached"


def test_a_refused_address_is_like_a_refused_connection_to_those_who_catch_os_errors() -> None:
    code = "guard.only_loopback()\ntry: socket.socket().connect(('192.0.2.1', 80))\nexcept OSError as error: print(type(error).__name__)"
    assert run(code) == "OutsideAddressError"
