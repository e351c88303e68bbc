"""Mistakes in files, and errors while running: the two families of everything that can go wrong. And what ends a process's part in a run.

A `Problem` is a mistake in a file. Problems are collected, sorted and printed together, never raised one by one.
A `StopgapError` is something that went wrong while running. Its docstring is its default message.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class Exit(enum.IntEnum):
    """What the process's exit code says."""

    DONE = 0
    FAILED = 1  # problems were found, or the run failed
    USAGE = 2
    BUG = 3  # our own mistake, with a log ready to paste
    NOT_APPROVED = 4  # rejected or expired at a gate
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        """Print as editors read it: line:column."""
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in one file: where, a sentence, a code, and what to do about it.

    `source` is the text of the line it points at, without its line end; empty when there is no such line. What cannot be printed is a blank.
    Problems sort by file, then by place.
    """

    file: str
    position: Position
    sentence: str
    code: str
    hint: str = ""
    source: str = field(default="", compare=False)
    severity: str = "error"  # "warning" does not make `lint` fail

    def __post_init__(self) -> None:
        """Keep words from the file on one line, and out of the terminal's control."""
        for name in ("file", "sentence", "hint", "source"):
            text: str = getattr(self, name)
            if not text.isprintable():
                kept = "".join(character if character.isprintable() else " " for character in text)
                object.__setattr__(self, name, kept)

    def __str__(self) -> str:
        """Print as `file:line:column: sentence [code]  hint`."""
        tail = f"  {self.hint}" if self.hint else ""
        warning = "warning: " if self.severity == "warning" else ""
        return f"{self.file}:{self.position}: {warning}{self.sentence} [{self.code}]{tail}"


class StopgapError(Exception):
    """Something went wrong in stopgap."""

    exit: ClassVar[Exit] = Exit.FAILED

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class LeaveRunError(Exception):
    """The process that carries a run out has no more part in it, and another goes on from what is written.

    No StopgapError: it says nothing about a step, and whoever turns errors into a step's end must let it pass.
    """


class UsageError(StopgapError):
    """The command was not used as its --help says."""

    exit = Exit.USAGE


class ProblemsError(StopgapError):
    """A file has problems; `problems` lists every one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))
