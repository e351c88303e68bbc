"""The choices of a decision: each names the change it is about, so that choosing one binds the answer to this question and no other.

`approve: checkout 2.4.1 -> 2.4.0 [8b89af45c0ffee11]` is the answer "approve" to the question with that digest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stopgap.approvals.model import APPROVALS, Answer
from stopgap.rendering import characters

if TYPE_CHECKING:
    from stopgap.approvals.model import Gate

_LONGEST = 70  # characters of a summary; a telephone shows two lines of a choice
_CHOICE = re.compile(r"(?s)(.+?)(?:: .*)? \[([0-9a-f]{16})\]")


def of_gate(gate: Gate) -> dict[Answer, str]:
    """Return the text of each answer that the gate takes, in the order in which people read them."""
    return {answer: _choice(gate, answer) for answer in gate.allowed}


def read(text: str) -> tuple[str, str]:
    """Return answer and digest of a choice; ("", "") for a text that is none. Whether the gate takes them is decided elsewhere."""
    found = _CHOICE.fullmatch(text)
    return (found[1], found[2]) if found and found[1] in set(Answer) else ("", "")


def summary(gate: Gate) -> str:
    """Return one line that names what is asked about; empty where the question names no change."""
    asks = gate.asks
    if asks.get("members"):
        return "; ".join(str(each["change"]["summary"]) for each in asks["members"])
    return str(asks["change"]["summary"]) if asks.get("change") else str(asks.get("text", ""))


def _choice(gate: Gate, answer: Answer) -> str:
    what = characters.line(summary(gate)) if answer in APPROVALS else ""
    short = what if len(what) <= _LONGEST else f"{what[: _LONGEST - 1]}…"
    return f"{answer}: {short} [{gate.digest}]" if short else f"{answer} [{gate.digest}]"
