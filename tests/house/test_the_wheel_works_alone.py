"""What is shipped is the wheel: built from the checkout, installed in an empty environment, used in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "runbooks" / "checkout" / "latency.yaml"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("stopgap-*.whl"))


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with the wheel in it, and the present one's packages behind that in place of a download."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True, timeout=60).stdout.strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # A path in a .pth file is searched, but the .pth files in it are not read: the checkout's editable install stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(environment: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.defpath, "HOME": str(folder), "STOPGAP_HOME": str(folder / "home")}
    command = [str(environment / "bin" / "python"), *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_wheel_holds_the_package_and_its_schemas_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"stopgap", "stopgap_flows.py", f"stopgap-{version()}.dist-info"}
    shipped = {name.removeprefix("stopgap/_schemas/") for name in names if name.startswith("stopgap/_schemas/")}
    present = {str(path.relative_to(ROOT / "schemas")) for path in (ROOT / "schemas").rglob("*.json")}
    assert shipped == present
    assert "stopgap/py.typed" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def version() -> str:
    import stopgap

    return stopgap.__version__


def test_the_installed_wheel_is_what_runs(environment: Path, tmp_path: Path) -> None:
    done = run(environment, "-c", "import stopgap, stopgap.schema; print(stopgap.__file__, stopgap.schema.folder())", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    package, schemas = done.stdout.split()
    assert Path(package).is_relative_to(environment)
    assert Path(schemas).is_relative_to(environment)


def test_lint_runs_where_only_the_wheel_is(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_bytes(RUNBOOK.read_bytes())
    done = run(environment, "-m", "stopgap", "lint", "good.yaml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    (tmp_path / "bad.yaml").write_text(RUNBOOK.read_text().replace("timeout: 2m", "timeuot: 2m"))
    done = run(environment, "-m", "stopgap", "lint", "bad.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert 'unknown key "timeuot" [unknown-key]  did you mean "timeout"?' in done.stdout


def test_the_command_is_named_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        points = archive.read(f"stopgap-{version()}.dist-info/entry_points.txt").decode()
    assert "stopgap = stopgap.cli.main:main" in points


def test_a_folder_without_runbooks_is_a_clear_message(environment: Path, tmp_path: Path) -> None:
    done = run(environment, "-m", "stopgap", "lint", folder=tmp_path)
    assert done.returncode == 2
    assert f"There is no folder {tmp_path / 'runbooks'}." in done.stderr
