"""`commands` of policy.yaml: which programs `command.run` may start, and with which arguments. None, unless they are written there."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Pattern = Sequence[str]


def allowed(argv: Sequence[str], patterns: Sequence[Pattern]) -> bool:
    """Say whether one of the patterns is this program with these arguments, one pattern for each argument."""
    return any(len(argv) == len(pattern) and argv[0] == pattern[0] and all(map(_fits, argv[1:], pattern[1:])) for pattern in patterns)


def show(patterns: Sequence[Pattern]) -> str:
    """Render for people."""
    return "; ".join(map(shlex.join, patterns)) or "nothing"


def _fits(argument: str, pattern: str) -> bool:
    # What begins with a dash is an option, and many a program can be told by one to do something else entirely.
    is_hidden_option = argument.startswith("-") and not pattern.startswith("-")
    return not is_hidden_option and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), argument, re.DOTALL) is not None
