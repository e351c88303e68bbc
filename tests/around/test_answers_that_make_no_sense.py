"""A service that answers anything at all gives an error of the contract, and never a traceback."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from test_a_dry_run_is_guarded import STEPS

from fixtures_cluster import context_in
from stopgap.actions import registry
from stopgap.actions.contract import Change, InDoubtError, PermanentError, TemporaryError

if TYPE_CHECKING:
    from fixtures_office import Office

GARBAGE = [
    "", "<html>Log in</html>", "null", "5", '"x"', "[]", "[null]", "[5]", "[[]]", "[{}]", "{}", '{"result": null}', '{"result": [{}]}', '{"result": {}}',
    '{"data": [5]}', '{"data": [{"spans": []}]}', '{"data": {"actor": null}}', '{"errors": [5]}', '{"issues": [{}]}', '{"issues": null}',
    '{"meetings": [{"agenda": 5}]}', '{"access_token": "x"}', '{"hits": {"total": 3, "hits": []}}', '{"hits": {"hits": [{}]}}',
    '{"series": [{"pointlist": [["a", "b"]]}]}', '{"series": 5}', '{"result": {"count": "x"}}', '[{"id": 1, "metadata": {"stopgap": 5}}]', "\x00\xff", '{"a":' * 500,
]  # fmt: skip


@pytest.mark.parametrize(("purpose", "kind"), STEPS)
def test_whatever_is_answered_is_an_error_that_names_the_service(office: Office, purpose: str, kind: str) -> None:
    name, arguments = STEPS[purpose, kind]
    policy = office.policy(office.site(purpose, kind, name="it"))
    step = registry.build(name, arguments)
    change = Change(summary="", now={"a": 1}, after={"ticket": "OPS-1"})
    for text in GARBAGE:
        office.garbage = text
        for call in (
            lambda: step.plan(context_in(policy)),
            *(partial(each, context_in(policy), change) for each in (step.apply, step.probe)),
        ):
            with contextlib.suppress(PermanentError, TemporaryError, InDoubtError):
                call()
    assert office.heard
