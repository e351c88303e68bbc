"""Every command block of the docs is run, page by page, by the convention in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from stopgap.drills.world import World

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")])
# Pages that need more than a folder and a cluster have a test of their own, which runs every block of theirs.
OWN = {"docs/operations.md": "tests/timeline/test_operations_page.py"}
SHELLS = {"sh", "bash", "shell", "zsh", "shell-session"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: `line` counts from 1; `words` are those after the language."""

    page: Path
    line: int
    language: str
    words: dict[str, str]
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command and the lines that must stand in its output."""

    text: str
    expected: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.map:
            language, *words = token.info.split() or [""]
            pairs = dict(word.partition("=")[::2] for word in words)
            found.append(Block(page=page, line=token.map[0] + 1, language=language, words=pairs, text=token.content))
    return found


def commands(block: Block) -> list[Command]:
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"{block.place}: a console block begins with a command, `$ ...`"
    lines = [part.rstrip("\n").split("\n") for part in parts[1:]]
    return [Command(command, tuple(line for line in output if line.strip())) for command, *output in lines]


ALL = [block for page in PAGES for block in blocks(page)]
CONSOLES = [block for block in ALL if block.language == "console"]


@pytest.fixture
def folder(tmp_path: Path, world: World) -> Path:
    """A checkout's runbooks, and a home whose kubeconfig names the sandbox `prod`."""
    world.seed_demo()
    shutil.copytree(ROOT / "runbooks", tmp_path / "work" / "runbooks")
    shutil.copytree(ROOT / "schemas", tmp_path / "work" / "schemas")
    kubeconfig = tmp_path / "home" / ".kube" / "config"
    kubeconfig.parent.mkdir(parents=True)
    kubeconfig.write_text(world.kubeconfig.read_text().replace("contexts: [{name: sandbox,", "contexts: [{name: prod,"))
    return tmp_path / "work"


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.page == page for block in CONSOLES)], ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(page: Path, folder: Path, stopgap_home: Path) -> None:
    assert stopgap_home
    env = {
        **os.environ,
        "HOME": str(folder.parent / "home"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    for block in CONSOLES:
        if block.page == page and "by" not in block.words:
            run_block(block, folder, env)


def run_block(block: Block, folder: Path, env: dict[str, str]) -> None:
    found = commands(block)
    for number, command in enumerate(found, start=1):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.text],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        code = int(block.words.get("fails", "0")) if number == len(found) else 0
        told = f"{block.place}: $ {command.text}\n{done.stdout}"
        assert done.returncode == code, told
        assert missing_line(command.expected, done.stdout) is None, told


def missing_line(expected: tuple[str, ...], output: str) -> str | None:
    """Return the first expected line that does not stand in the output, in order."""
    rest = iter(output.splitlines())
    for line in expected:
        if line.strip() != "..." and not any(line.strip() in found for found in rest):
            return line
    return None


@pytest.mark.parametrize("block", [block for block in CONSOLES if "by" in block.words], ids=lambda block: block.place)
def test_the_test_that_a_block_names_exists(block: Block) -> None:
    file, _, name = block.words["by"].partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, block.place


def test_commands_stand_in_console_blocks_alone() -> None:
    assert [block.place for block in ALL if block.language in SHELLS and str(block.page.relative_to(ROOT)) not in OWN] == []
    assert [page for page, test in OWN.items() if Path(page).name not in (ROOT / test).read_text()] == []
    assert CONSOLES


def test_an_excerpt_of_a_runbook_in_the_readme_is_really_in_it() -> None:
    runbooks = [path.read_text() for path in (ROOT / "runbooks").rglob("*.yaml")]
    excerpts = [block for block in ALL if block.page.name == "README.md" and block.language == "yaml"]
    assert excerpts
    assert [block.place for block in excerpts if not any(block.text in runbook for runbook in runbooks)] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())]
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_the_glossary_defines_each_word_once_and_in_order() -> None:
    words = re.findall(r"^\*\*(.+?)\*\* ", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert words == sorted(set(words))
    assert {"runbook", "step", "gate", "approval", "incident commander", "timeline", "drill"} <= set(words)
