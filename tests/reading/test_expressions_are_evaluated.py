from __future__ import annotations

import contextlib
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopgap.runbook import expressions
from stopgap.runbook.model import Status

NAMES: dict[str, Any] = {
    "params": {"replicas": 3, "ratio": 0.5, "services": ["cart", "checkout"], "none": None},
    "steps": {"scale": {"status": Status.DONE, "output": {"before": 2}}},
    "alert": {"labels": {"app.kubernetes.io/name": "cart"}, "annotations": {"replicas": "7"}},
    "item": "cart",
}
WORDS = [
    "params.replicas",
    "params.none",
    "steps.scale.status",
    "alert.labels",
    "item",
    "1",
    "-1",
    "2.5",
    "'a'",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ".",
    "?",
    ":",
    "&&",
    "!",
    "==",
    "<",
    "+",
    "-",
    "*",
    "/",
    "%",
    "size(",
    "int(",
    ".map(x,",
    "x",
    "has(",
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ params.replicas }}", 3),
        ("  ${{ params.ratio * 2.0 }} ", 1.0),
        ("${{ params.services }}", ["cart", "checkout"]),
        ("${{ steps.scale.status == 'done' && steps.scale.output.before < 3 }}", True),
        ("${{ int(alert.annotations.replicas) }}", 7),
        ("${{ alert.labels['app.kubernetes.io/name'] }}", "cart"),
        ("${{ params.none }}", None),
        ("${{ '}}' }}", "}}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ has(alert.labels.team) ? alert.labels.team : 'nobody' }}", "nobody"),
        ("${{ item }}: ${{ params.replicas + 1 }} of ${{ true }}", "cart: 4 of true"),
        ("no expression, $ {{ }} }}", "no expression, $ {{ }} }}"),
    ],
)
def test_a_text_is_rendered(text: str, value: object) -> None:
    rendered = expressions.render(text, NAMES)
    assert (rendered, type(rendered)) == (value, type(value))


def test_any_nested_value_is_rendered() -> None:
    written = MappingProxyType({"a": ["${{ item }}", {"b": "x ${{ item }}"}], "c": 3})
    assert expressions.render(written, NAMES) == {"a": ["cart", {"b": "x cart"}], "c": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${{ params.replica }}", "${{ params.replica }}: there is no 'replica'."),
        ("${{ parms.replicas }}", "${{ parms.replicas }}: there is no parms."),
        ("${{ size(1) }}", "${{ size(1) }}: size cannot be called like this."),
        ("${{ 1 / 0 }}", "${{ 1 / 0 }}: division by zero in CEL expression"),
        ("${{ 0.0 / 0.0 }}", "${{ 0.0 / 0.0 }} gives nan, which is not a number that can be used."),
        (
            "${{ timestamp('2026-11-21T00:00:00Z') }}",
            "${{ timestamp('2026-11-21T00:00:00Z') }} gives a datetime; make it text with string(...).",
        ),
        ("all: ${{ params.services }}", "${{ params.services }} gives a list, which cannot stand inside a text."),
        ("${{ params.replicas", "${{ params.replicas: a ${{ is not closed by }}."),
        ("${{ 1 + }}", "the expression ends too early"),
        ("${{ }}", "the expression is empty"),
    ],
)
def test_what_goes_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(expressions.ExpressionError) as caught:
        expressions.render(text, NAMES)
    assert str(caught.value) == message


def test_a_condition_must_be_true_or_false() -> None:
    assert expressions.holds("params.replicas == 3", NAMES) is True
    with pytest.raises(expressions.ExpressionError) as caught:
        expressions.holds("item", NAMES)
    assert str(caught.value) == "${{ item }} is a condition: it must be true or false, not 'cart'."


def test_the_names_an_expression_reads_are_found() -> None:
    written = {
        "a": "${{ params.services.map(x, x + item) }}",
        "b": ["${{ steps['scale'].output.before }}", "${{ size(alert.labels.app.trim()) }}"],
    }
    assert expressions.references(written) == {"params.services", "item", "steps.scale.output.before", "alert.labels.app"}


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=10))
def test_any_words_give_a_value_or_an_error(words: list[str]) -> None:
    with contextlib.suppress(expressions.ExpressionError):
        expressions.render(f"${{{{ {' '.join(words)} }}}}", NAMES)


TOGETHER = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from stopgap.runbook import expressions

first = Barrier(8)

def compiled(number):
    first.wait()
    return expressions.compiled(f"{number} + 1").execute({})

with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(compiled, range(8))))
"""


def test_threads_that_meet_their_first_expression_at_the_same_moment_all_get_it() -> None:
    """As a worker does that reads policies for its notices and runbooks for Prefect when it starts."""
    found = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("36\n", 0), found.stderr
