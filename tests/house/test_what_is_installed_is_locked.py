"""A fresh `pip install prefect` breaks its own server (fastapi moved on); so everything is locked, and the lock is what is tested."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked() -> dict[str, str]:
    """Return name -> version of what the lock installs here."""
    entries = re.findall(r"^([A-Za-z0-9_.\[\]-]+==[^\\\n]+?) *\\?$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    found = [Requirement(entry) for entry in entries]
    assert len(found) > 50
    return {
        str(canonicalize_name(each.name)): next(iter(each.specifier)).version
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def declared() -> list[Requirement]:
    extras = [entry for extra in PROJECT["optional-dependencies"].values() for entry in extra]
    return [Requirement(entry) for entry in [*PROJECT["dependencies"], *extras]]


def test_everything_declared_is_locked_within_its_bounds() -> None:
    versions = locked()
    wrong = [str(each) for each in declared() if versions.get(str(canonicalize_name(each.name)), "0") not in each.specifier]
    assert wrong == [], "run `make lock`"


def test_what_is_installed_here_is_what_the_lock_names() -> None:
    installed = {str(canonicalize_name(each.name)): each.version for each in importlib.metadata.distributions()}
    wrong = {name: (version, installed.get(name)) for name, version in locked().items() if installed.get(name) != version}
    assert wrong == {}, "run `make setup`"


def test_the_lock_names_hashes_and_no_hosts() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in text
    assert "http" not in re.sub(r"^[a-z0-9-]*http[a-z0-9-]*==", "", re.sub(r"#.*|--hash=\S+", "", text), flags=re.MULTILINE)


def test_every_dependency_has_its_reason_beside_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    entries = lines[start + 1 : lines.index("]", start)]
    assert [line for line in entries if "#" not in line] == []
