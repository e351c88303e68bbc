"""Where a notice goes: the addresses of policy.yaml, with what stands in the environment or in files put in. What comes out is a secret."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from stopgap.problems import StopgapError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PIECES = re.compile(r"[/:@?&=,]+")
_SHORTEST = 4


class AddressError(StopgapError):
    """An address of policy.yaml cannot be put together here."""


def resolve(written: str, *, folder: Path) -> str:
    """Return the address: `${NAME}` from the environment, `file:PATH` from a file's first line, a relative one beginning at `folder`.

    A name that stands alone is the whole address; within one it is a part, and quoted. Errors name the variable or file, never a value.
    """
    if written.startswith("file:"):
        return _of_file(folder / os.path.expanduser(written.removeprefix("file:")))  # noqa: PTH111  before it is joined
    alone = _NAME.fullmatch(written)
    if alone:
        return _of_environment(alone[1])
    return _NAME.sub(lambda found: quote(_of_environment(found[1]), safe=""), written)


def secrets(address: str) -> tuple[str, ...]:
    """Return every piece of an address that must stand nowhere: which of them is a token only its service knows."""
    return (address, *(piece for piece in _PIECES.split(address.partition("://")[2]) if len(piece) >= _SHORTEST))


def _of_environment(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise AddressError(f"${{{name}}} is not set where the worker runs")
    return value


def _of_file(path: Path) -> str:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AddressError(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from error
    if not lines or not lines[0].strip():
        raise AddressError(f"{path} is empty")
    return lines[0].strip()
