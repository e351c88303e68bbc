from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cases import BROKEN, OK, said_of

if TYPE_CHECKING:
    from pathlib import Path

REWRITE = "STOPGAP_REWRITE_CASES" in os.environ  # writes what is said now; read the difference before you commit it


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_gets_exactly_these_lines(path: Path) -> None:
    said = "".join(f"{line}\n" for line in said_of(path))
    expected = path.with_suffix(".out")
    if REWRITE:
        expected.write_text(said, encoding="utf-8")
    assert said
    assert said == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", OK, ids=lambda path: path.stem)
def test_a_sound_file_gets_no_line(path: Path) -> None:
    assert said_of(path) == []


def test_there_are_at_least_forty_broken_files() -> None:
    assert len(BROKEN) >= 40
    assert {path.stem for path in BROKEN} == {path.stem for path in BROKEN[0].parent.glob("*.out")}
