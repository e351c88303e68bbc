from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cases import said_of
from stopgap import document

LONG = 50 * 1024 * 1024


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "hostile.yaml"
    path.write_bytes(content)
    return path


def test_a_file_of_fifty_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    with path.open("wb") as stream:
        stream.truncate(LONG)
    assert said_of(path) == ["hostile.yaml:1:1: the file is larger than 256 KiB [too-large]  a runbook is a page that a person reads"]


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? "])
def test_a_hundred_thousand_levels(tmp_path: Path, opening: bytes) -> None:
    (said,) = said_of(_written(tmp_path, opening * 50_000))
    assert said.endswith(("[too-deep]  no runbook nests so deep", '[key-not-text]  quote the whole text if it begins with "{" or "["'))


def test_a_hundred_thousand_brackets(tmp_path: Path) -> None:
    said = said_of(_written(tmp_path, b"[" * 100_000))
    assert said == ["hostile.yaml:1:33: more than 32 levels inside each other [too-deep]  no runbook nests so deep"]


def test_a_binary_file(tmp_path: Path) -> None:
    said = said_of(_written(tmp_path, Path(sys.executable).resolve().read_bytes()[:200_000]))
    assert len(said) == 1
    assert "[not-text]" in said[0]


def test_a_file_of_zeros(tmp_path: Path) -> None:
    said = said_of(_written(tmp_path, bytes(1000)))
    assert said == ["hostile.yaml:1:1: this is not text: it holds the control character 0x00 [not-text]"]


def test_a_file_in_utf_16(tmp_path: Path) -> None:
    said = said_of(_written(tmp_path, "name: é".encode("utf-16")))
    assert said == ["hostile.yaml:1:1: this is not text in UTF-8 [not-text]  a runbook is a YAML file, saved as UTF-8"]


def test_prose_instead_of_yaml(tmp_path: Path) -> None:
    said = said_of(_written(tmp_path, b"Dear on-call,\n\nplease scale the checkout: it is slow: very slow.\n"))
    assert said == [
        'hostile.yaml:3:26: a ":" where no key can be [syntax]  put text that holds ": " in quotes; check the indentation',
    ]


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    found, problems = document.examine(tmp_path)
    assert found is None
    assert [str(problem) for problem in problems] == [f"{tmp_path}:1:1: cannot be read: Is a directory [unreadable]"]


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    _, problems = document.examine(tmp_path / "gone.yaml")
    assert [str(problem) for problem in problems] == [f"{tmp_path}/gone.yaml:1:1: cannot be read: No such file or directory [unreadable]"]


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 500 + "1" + ")" * 500,
        "!" * 1_900 + "true",
        "a." * 900 + "b",
        "a" * 100_000,
        "[1].map(a, " * 30 + "1" + ")" * 30,
        "é" * 1_500 + "(",
        "'" * 3,
    ],
    ids=["brackets", "signs", "dots", "long", "loops", "not-ascii", "quotes"],
)
def test_an_expression_that_would_break_the_parser_is_a_problem(tmp_path: Path, expression: str) -> None:
    text = f'kind: Runbook\nsteps: [{{id: a, uses: note, when: "${{{{ {expression} }}}}"}}]\n'
    path = _written(tmp_path, text.encode())
    done = subprocess.run([sys.executable, "-m", "stopgap", "lint", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr, "panicked" in done.stderr) == (1, False, False)
