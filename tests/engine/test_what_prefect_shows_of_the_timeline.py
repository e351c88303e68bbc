"""The timeline of a run is a table in Prefect: soon while the run goes on, whole when it leaves the process, and never once for each quick step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_waiting import STEPS
from stopgap.engine import telling

if TYPE_CHECKING:
    from fixtures_waiting import Waiting

QUICK = "".join(f"  - {{id: say{number}, uses: note, with: {{text: hello}}}}\n" for number in range(30))


def tables(waiting: Waiting) -> list[list[dict[str, str]]]:
    """Every version that was shown, the first one first."""
    asked = {"flow_runs": {"id": {"any_": [str(waiting.flow_run)]}}, "sort": "CREATED_DESC"}
    found: list[dict[str, Any]] = waiting.client.request("POST", "/artifacts/filter", json=asked).json()
    return [json.loads(each["data"]) for each in reversed(found)]


@pytest.mark.parametrize("waiting", [STEPS + QUICK], indirect=True)
def test_people_see_all_of_it_at_a_gate_and_at_the_end_and_quick_steps_share_a_table(waiting: Waiting) -> None:
    assert tables(waiting)[-1][-1]["what"].startswith("Add capacity: may this be done?")
    before = len(tables(waiting))
    waiting.answer()
    assert waiting.execute()
    shown = tables(waiting)
    assert [row["what"] for row in shown[-1]] == [entry.text for entry in waiting.work.entries()]
    assert len(shown[0]) < len(shown[-1])
    assert len(shown) - before < 15, "30 quick steps do not make 30 tables"


@pytest.mark.parametrize("waiting", [STEPS + QUICK], indirect=True)
def test_they_see_it_soon_while_the_run_goes_on(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PAUSE", 0.01)
    before = len(tables(waiting))
    waiting.answer()
    assert waiting.execute()
    assert len(tables(waiting)) - before > 3
