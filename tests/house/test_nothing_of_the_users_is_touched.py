"""`make test` and `make demo` run without the user's settings: everything that names a place of the user's leads into a trap here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ALONE = ROOT / ".ci" / "alone"


@dataclass(slots=True)
class Trap:
    """Listens where a user's systems would be, and notes who calls."""

    port: int
    calls: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def trap() -> Iterator[Trap]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Trap(listening.getsockname()[1])
        thread = threading.Thread(target=_listen, args=(listening, found), daemon=True)
        thread.start()
        yield found
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)


def _listen(listening: socket.socket, trap: Trap) -> None:
    while True:
        try:
            caller, _ = listening.accept()
        except OSError:
            return  # the trap was taken away
        with caller:
            caller.settimeout(1)
            trap.calls.append(caller.recv(200).decode(errors="replace"))


@pytest.fixture
def users_home(tmp_path: Path, trap: Trap) -> Path:
    home = tmp_path / "user"
    cluster = f"clusters: [{{name: c, cluster: {{server: '{trap.url}'}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\n"
    files = {
        ".kube/config": f"apiVersion: v1\nkind: Config\n{cluster}contexts: [{{name: prod, context: {{cluster: c, user: u}}}}]\ncurrent-context: prod\n",
        ".aws/credentials": "[default]\naws_access_key_id = AKIAUSER\naws_secret_access_key = secret\n",
        ".aws/config": f"[default]\nregion = eu-north-1\nendpoint_url = {trap.url}\n",
        ".prefect/profiles.toml": f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{trap.url}/api"\n',
        ".local/share/stopgap/timeline.key": "the user's own timeline\n",
        "runbooks/policy.yaml": "this is not for the tests: [\n",
    }
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return home


@pytest.fixture
def hostile(users_home: Path, trap: Trap) -> dict[str, str]:
    """Return the environment of somebody whose every setting would lead a careless program astray."""
    proxies = {f"{name}_PROXY": trap.url for name in ("HTTP", "HTTPS", "ALL")}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "STOPGAP_", "PYTEST_"))}
    return {
        **plain,
        **proxies,
        **{name.lower(): value for name, value in proxies.items()},
        "HOME": str(users_home),
        "XDG_DATA_HOME": str(users_home / ".local" / "share"),
        "KUBECONFIG": str(users_home / ".kube" / "config"),
        "PREFECT_API_URL": f"{trap.url}/api",
        "PREFECT_HOME": str(users_home / ".prefect"),
        "PREFECT_PROFILES_PATH": str(users_home / ".prefect" / "profiles.toml"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://u:p@127.0.0.1:{trap.port}/prefect",
        "AWS_ENDPOINT_URL": trap.url,
        "AWS_ACCESS_KEY_ID": "AKIAUSER",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(trap.port),
        "STOPGAP_HOME": str(users_home / ".local" / "share" / "stopgap"),
        "STOPGAP_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{trap.port}/stopgap",
        "STOPGAP_RUNBOOKS": str(users_home / "runbooks"),
        "STOPGAP_TIMELINE_KEY": "the user's",
    }


# Installing may use the user's proxy and index; it is done by now, even if a file looks newer than its stamp.
MAKE = ("make", "--silent", "--old-file=.venv/.installed")


def contents(home: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a home: mode and bytes."""
    return {str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"") for path in sorted(home.rglob("*"))}


def run(*command: str | Path, env: dict[str, str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def test_no_setting_of_the_users_reaches_a_command(hostile: dict[str, str], trap: Trap, users_home: Path) -> None:
    done = run(ALONE, sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))", env=hostile)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: value for name, value in found.items() if str(trap.port) in value or str(users_home) in value} == {}
    assert not [name for name in found if name.startswith(("PREFECT_", "AWS_", "KUBE", "PG")) or name.lower().endswith("_proxy")]
    assert not Path(found["HOME"]).exists()
    assert Path(found["STOPGAP_HOME"]).parent == Path(found["HOME"])


def test_a_command_and_its_children_reach_loopback_alone(hostile: dict[str, str]) -> None:
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    child = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {connect!r}]).returncode)"
    done = run(ALONE, sys.executable, "-c", child, env=hostile)
    assert done.returncode == 1
    assert (
        "OutsideAddressError: This process may reach loopback addresses alone, and tried ('192.0.2.1', 80). Nothing was sent."
        in done.stderr
    )


def test_the_commands_exit_code_is_passed_on(hostile: dict[str, str]) -> None:
    assert run(ALONE, "sh", "-c", "exit 7", env=hostile).returncode == 7


def test_make_test_touches_nothing_of_the_users(hostile: dict[str, str], trap: Trap, users_home: Path) -> None:
    before = contents(users_home)
    some = "tests/sandbox/test_the_shop_answers.py tests/timeline/test_entries.py"
    done = run(*MAKE, "test", f"ARGS=-q -p no:cacheprovider -k 'effects or chain' {some}", env=hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trap.calls == []
    assert contents(users_home) == before


@pytest.mark.timeout(420)
@pytest.mark.skipif(not (ROOT / "flows/stopgap/cli/up.py").exists(), reason="the verb up, on which the demo stands, is not there yet")
def test_make_demo_mitigates_the_incident_and_touches_nothing_of_the_users(hostile: dict[str, str], trap: Trap, users_home: Path) -> None:
    before = contents(users_home)
    done = run(*MAKE, "demo", "ARGS=--yes", env=hostile, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trap.calls == []
    assert contents(users_home) == before
