"""Ten thousand spoiled runbooks, and any text at all."""

from __future__ import annotations

import random
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import BROKEN, KNOWN, OK
from stopgap import document
from stopgap.problems import Problem
from stopgap.runbook import load
from stopgap.runbook.model import Runbook

EXAMPLES = 10_000
SEEDS = [path.read_text(encoding="utf-8") for path in (*OK, *BROKEN) if path.stem not in {"alias-bomb", "control-character"}]
SNIPPETS = (
    "${{", "}}", "${{ params.x }}", '"', "'", "{", "}", "[", "]", ":", ": ", "- ", "\n", "  ", "\t", "#", "&a ", "*a", "!!str ", "<<: ", "? ", "|", ">-",
    "~", "null", "true", "012", "0x1f", ".nan", "1e999", "9" * 400, "2026-02-30", "99999999999d", "é", "\U0001f600", "\u2028", "\x85", "\ufeff", "---\n",
    "%YAML 1.1\n", "steps:", "when: ", "for_each: ", "parallel: ", "with: {}", "defaults: [", "name: 3", "id: a-b", "${{ steps.a.b.c }}", "${{ ((( }}",
)  # fmt: skip


def _spoiled(text: str, choice: random.Random) -> str:
    for _ in range(choice.randint(1, 4)):
        pieces = re.split(r"(\s+|[{}\[\],:\"])", text)
        at = choice.randrange(len(pieces))
        pieces[at] = choice.choice(
            ("", pieces[at] * 2, pieces[choice.randrange(len(pieces))], choice.choice(SNIPPETS), pieces[at] + choice.choice(SNIPPETS))
        )
        text = "".join(pieces)
    return text


def _check(text: str) -> None:
    found, problems = document.parse(text.encode("utf-8", "surrogatepass"), path=Path("spoiled.yaml"))
    runbook, more = load.check(found, known=KNOWN) if found else (None, [])
    assert isinstance(runbook, Runbook) or any(problem.severity == "error" for problem in [*problems, *more])
    for problem in [*problems, *more]:
        assert isinstance(problem, Problem)
        assert problem.position.line >= 1
        assert problem.position.column >= 1
        assert "\n" not in str(problem)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
def test_a_spoiled_runbook_never_breaks_the_reader(text: str, seed: int) -> None:
    _check(_spoiled(text, random.Random(seed)))


@settings(max_examples=1_000, deadline=None)
@given(st.text(max_size=300))
def test_any_text_never_breaks_the_reader(text: str) -> None:
    _check(text)


@settings(max_examples=1_000, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_never_break_the_reader(content: bytes) -> None:
    document.parse(content)


@settings(max_examples=1_000, deadline=None)
@given(st.text(alphabet="abcxyz.()[]{}'\"\\ 123+-*/%!=<>&|?:,", max_size=60))
def test_any_expression_is_read_or_refused(expression: str) -> None:
    _check(f"kind: Runbook\nsteps:\n  - id: a\n    uses: note\n    with:\n      text: |\n        ${{{{ {expression} }}}}\n")
