"""The embedded Prefect server: who gets in, what it keeps to itself, how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from stopgap.engine import lock, server

if TYPE_CHECKING:
    from pathlib import Path


def get(url: str, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.get(url, headers=headers)


def basic(auth: str) -> tuple[str, str]:
    user, _, password = auth.partition(":")
    return user, password


def test_nobody_gets_in_without_the_auth_string(prefect_server: server.PrefectServer) -> None:
    url = f"{prefect_server.api_url}/flow_runs/count"
    assert httpx.post(url, json={}, trust_env=False).status_code == 401
    assert httpx.post(url, json={}, trust_env=False, auth=("stopgap", "wrong")).status_code == 401
    assert httpx.post(url, json={}, trust_env=False, auth=basic(prefect_server.auth)).status_code == 200


def test_only_its_own_origin_may_call_it_from_a_browser(prefect_server: server.PrefectServer) -> None:
    url = f"{prefect_server.api_url}/health"
    assert "access-control-allow-origin" not in get(url, Origin="http://elsewhere.example").headers
    assert get(url, Origin=prefect_server.ui_url).headers["access-control-allow-origin"] == prefect_server.ui_url


def test_it_serves_the_v1_ui_and_reports_to_nobody(prefect_server: server.PrefectServer) -> None:
    settings = get(f"{prefect_server.ui_url}/ui-settings").json()
    assert settings["default_ui"] == "v1"
    assert settings["auth"] == "BASIC"
    with httpx.Client(trust_env=False, auth=basic(prefect_server.auth)) as client:
        found = client.get(f"{prefect_server.api_url}/admin/settings").json()["server"]
    assert found["analytics_enabled"] is False
    assert found["ui"]["show_promotional_content"] is False


def test_it_listens_on_loopback_only(prefect_server: server.PrefectServer) -> None:
    port = int(prefect_server.ui_url.rsplit(":", 1)[1])
    assert prefect_server.ui_url.startswith("http://127.0.0.1:")
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))


def test_what_it_keeps_can_be_read_by_its_owner_only(prefect_server: server.PrefectServer) -> None:
    home = prefect_server.home
    assert [(home / name).stat().st_mode & 0o777 for name in ("prefect.json", "log/prefect.log", "log", "prefect")] == [
        0o600,
        0o600,
        0o700,
        0o700,
    ]
    assert prefect_server.auth not in repr(prefect_server)


def test_a_setting_of_the_users_prefect_does_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "of the user")
    assert "PREFECT_API_KEY" not in server.scrubbed(os.environ)


def test_a_proxy_of_the_users_is_not_asked_for_loopback(prefect_server: server.PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    assert server.environment(prefect_server)["NO_PROXY"] == "intranet.example,127.0.0.1"


def test_a_taken_port_is_left_alone_and_the_move_is_known(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server.write_private(tmp_path / "prefect.json", {"port": port})
        with pytest.raises(server.ServerError) as error:
            server.start(tmp_path, "postgresql+asyncpg://nobody@/nothing?host=/nowhere", patience=60)
    kept = json.loads((tmp_path / "prefect.json").read_text())
    assert kept["port"] != port
    assert str(error.value).startswith("The Prefect server ended with code 3 while it started. Its log, ")


def test_two_that_want_the_same_port_at_the_same_moment_do_not_both_get_it() -> None:
    with server.listen(0) as first, server.listen(first.getsockname()[1]) as second:
        assert first.getsockname() != second.getsockname()


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from stopgap.engine import lifeline
        with open(sys.argv[1], "wb") as log:
            child = lifeline.spawn(["stopgap.engine.prefect_server", "0"], env=os.environ, output=log)
        print(child.pid, flush=True)
        sys.stdin.read()
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123  not a file of ours
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_when_nothing_runs_the_message_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(server.NotRunningError) as error:
        server.current()
    assert str(error.value) == f"Nothing is running on {tmp_path}.\nStart it first:  stopgap up"


def test_what_a_dead_up_wrote_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPGAP_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    server.write_private(tmp_path / "up.json", {"pid": 1, "environment": {"PREFECT_API_URL": "http://127.0.0.1:1/api"}})
    with pytest.raises(server.NotRunningError):
        server.current()
    assert lock.take(tmp_path / "up.lock")
    assert server.current() == {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
    assert lock.take(tmp_path / "up.lock") is None
    assert lock.holder(tmp_path / "up.lock") == os.getpid()


def test_the_users_own_server_is_used_when_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_API_KEY", "key")
    found = server.current()
    assert (found["PREFECT_API_URL"], found["PREFECT_API_KEY"]) == ("http://127.0.0.1:9/api", "key")
