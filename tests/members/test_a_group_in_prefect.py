"""A group's one question as the Prefect form shows it, and the answer to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prefect.client.schemas.objects import StateType
from test_a_group_is_one_question import ASKING

if TYPE_CHECKING:
    from fixtures_engine import Bench
    from fixtures_waiting import Waiting

# Prefect leaves the socket of its event feed to the collector when a flow run ends in this process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("waiting", [ASKING], indirect=True, ids=["group"])
def test_one_form_shows_every_change_and_one_answer_lets_all_happen(waiting: Waiting, bench: Bench) -> None:
    description = waiting.description()
    assert "**2 changes, one decision for all of them**, asked because the runbook asks before this step." in description
    assert "### More of the new" in description
    assert "| `replicas` | `3` | `5` |" in description
    assert "### More of the old" in description
    assert "| `replicas` | `3` | `4` |" in description
    assert waiting.answer()["status"] == "ACCEPT"
    state = waiting.execute()
    assert state
    assert (state.type, state.message) == (StateType.COMPLETED, "A test: done. Done: one, two. Not done: nothing.")
    assert (bench.replicas(), bench.replicas("checkout-stable")) == (5, 4)
