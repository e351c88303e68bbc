"""`examples/plugin`, installed beside stopgap in an environment of its own: its tests pass, and every verb knows its action."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
BROKEN = '[project]\nname = "broken-flags"\nversion = "2.0"\n[project.entry-points."stopgap.actions"]\n'


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the example in it; behind that, in place of a download, the checkout and the present one's packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
    (packages_of(venv) / "behind.pth").write_text(f"{ROOT / 'flows'}\n{sysconfig.get_path('purelib')}\n")
    install(venv, shutil.copytree(EXAMPLE, folder / "plugin", ignore=shutil.ignore_patterns("__pycache__", ".*")))
    return venv


def packages_of(venv: Path) -> Path:
    return next(venv.glob("lib/python*/site-packages"))


def install(venv: Path, package: Path) -> None:
    """As the Makefile installs stopgap: with uv, from the folder, fetching nothing."""
    uv = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
    words = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "--python", str(venv / "bin" / "python")]
    done = subprocess.run([*words, str(package)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def run(venv: Path, *arguments: str | Path, folder: Path) -> tuple[int, str]:
    env = {"PATH": os.defpath, "HOME": str(folder), "STOPGAP_HOME": str(folder / "home"), "COLUMNS": "200"}
    command = [str(venv / "bin" / "python"), "-m", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout


def test_its_own_tests_pass(environment: Path) -> None:
    package = environment.parent / "plugin"
    code, said = run(environment, "pytest", "-q", "-p", "no:cacheprovider", package / "tests", folder=package)
    assert (code, said.splitlines()[-1].split(" in ")[0]) == (0, "5 passed, 1 skipped"), said


def test_every_verb_knows_its_action(environment: Path, tmp_path: Path) -> None:
    assert run(environment, "stopgap", "lint", EXAMPLE / "runbooks", folder=tmp_path) == (0, "2 files: no mistake\n")
    code, said = run(environment, "stopgap", "actions", "list", folder=tmp_path)
    assert code == 0
    assert "flags.switch                  changes   Switch a feature flag on or off" in said.splitlines()
    code, said = run(environment, "stopgap", "actions", "show", "flags.switch", folder=tmp_path)
    assert (code, said.splitlines()[0]) == (0, "### `flags.switch`")
    assert run(environment, "stopgap", "schema", "--write", folder=tmp_path)[0] == 0
    written = json.loads((tmp_path / "schemas" / "actions" / "flags.switch.schema.json").read_text())
    assert written["properties"]["enabled"] == {"description": "Whether it shall be on.", "type": "boolean"}
    code, said = run(environment, "stopgap", "permissions", "calm-down", folder=EXAMPLE)
    assert (code, said) == (0, "# flags: may read and write the flag {flag}\n")


def test_lint_says_what_is_wrong_with_its_arguments(environment: Path, tmp_path: Path) -> None:
    text = (EXAMPLE / "runbooks" / "calm-down.yaml").read_text()
    shutil.copy(EXAMPLE / "runbooks" / "policy.yaml", tmp_path)
    (tmp_path / "calm.yaml").write_text(text.replace("enabled: false", "enabeld: false"))
    code, said = run(environment, "stopgap", "lint", "calm.yaml", folder=tmp_path)
    assert code == 1
    found = [line for line in said.splitlines() if line.startswith("calm.yaml")]
    assert [line.split(": ", 1)[1].split("  ")[0] for line in found] == [
        'flags.switch needs "enabled" [missing-argument]',
        'unknown key "enabeld" [unknown-key]',
    ], said


def test_a_second_package_with_that_name_and_one_that_cannot_be_imported_are_told_by_name(environment: Path, tmp_path: Path) -> None:
    package = tmp_path / "broken"
    package.mkdir()
    (package / "broken_flags.py").write_text('raise RuntimeError("no flags today")\n')
    (package / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n{BROKEN}'
        '"flags.switch" = "broken_flags:Switch"\n"flags.purge" = "broken_flags:Purge"\n'
    )
    install(environment, package)
    try:
        code, said = run(environment, "stopgap", "actions", "list", folder=tmp_path)
        assert code == 1
        assert "kubernetes.scale " in said, "the others are listed all the same"
        both = (
            "the package broken-flags 2.0 (broken_flags:Switch) and the package stopgap-example-flags 1.0.0 (stopgap_example_flags:Switch)"
        )
        assert f'There are 2 actions named "flags.switch": {both}.' in [swapped(line, both) for line in said.splitlines()], said
        assert 'The action "flags.purge" (broken_flags:Purge) cannot be imported: RuntimeError: no flags today' in said.splitlines(), said
        code, said = run(environment, "stopgap", "lint", EXAMPLE / "runbooks", folder=tmp_path)
        assert code == 1
        assert 'There are 2 actions named "flags.switch": ' in said
        assert "[broken-action]  see  stopgap actions list" in said
    finally:
        for path in (*packages_of(environment).glob("broken_flags*"), packages_of(environment) / "broken_flags.py"):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True) if path.is_file() else None


def swapped(line: str, both: str) -> str:
    """Packages come in the order of their folders."""
    first, _, second = both.partition(" and ")
    return line.replace(f"{second} and {first}", both)
