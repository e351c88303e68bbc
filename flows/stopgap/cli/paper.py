"""The console on which tables and colours are drawn."""

from __future__ import annotations

from typing import NoReturn

import rich.console


class Console(rich.console.Console):
    """Rich's console, without guesses about what is a number or a name; a reader who leaves early is no failure of ours."""

    def __init__(self, *, wraps: bool = True) -> None:
        super().__init__(highlight=False, soft_wrap=not wraps)

    def on_broken_pipe(self) -> NoReturn:
        """Let `main` end quietly; rich itself would end the process with 1."""
        raise BrokenPipeError
