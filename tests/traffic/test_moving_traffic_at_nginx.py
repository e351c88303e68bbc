"""`nginx.upstream` on an nginx that really runs, with load across the shift."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fixtures_cluster import carry_out, context_in
from fixtures_traffic import Front, Load
from stopgap.actions.contract import ConflictError, InDoubtError, PermanentError, Probe
from stopgap.actions.nginx import NginxUpstream
from stopgap.policy.model import Policy
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from pathlib import Path


def upstream(backends: dict[str, int], **weights: int) -> NginxUpstream:
    servers = {f"127.0.0.1:{backends[name]}": weight for name, weight in weights.items()}
    return NginxUpstream(proxy="edge", upstream="web", weights=servers)


def servers(file: Path) -> list[str]:
    """The file's server lines, without our mark."""
    return [line.strip() for line in file.read_text().splitlines() if line.strip().startswith("server")]


def edit(file: Path) -> None:
    file.write_text(re.sub(r"weight=\d+", "weight=3", file.read_text()))


class TestUpstream(ActionContract):
    @pytest.fixture
    def scene(self, nginx: Front, backends: dict[str, int]) -> Scene:
        return Scene(
            action=upstream(backends, blue=1, green=9),
            policy=nginx.policy,
            look=lambda: servers(nginx.file),
            meddle=lambda: edit(nginx.file),
            never={Probe.IN_PROGRESS: "it is done when nginx was told to reload"},
        )


def test_a_shift_under_load_loses_no_request_and_moves_the_share_that_was_asked_for(nginx: Front, backends: dict[str, int]) -> None:
    text = nginx.file.read_text().replace("    least_conn;\n", "")
    nginx.file.write_text(text)
    with Load(nginx.port) as load:
        load.more(100)
        change, _ = carry_out(upstream(backends, blue=1, green=9), context_in(nginx.policy))
        load.more(400)  # those of the old worker, until it has heard of its end
        shifted = load.more(400)
        carry_out(upstream(backends, blue=0), context_in(nginx.policy))
        while load.more(100)["blue"]:
            pass  # the old worker once more
        emptied = load.more(200)
    assert load.failed == []
    assert change.measures == {"shift": 40.0}
    assert shifted["blue"] / shifted.total() == pytest.approx(0.1, abs=0.03)
    assert emptied["blue"] == 0
    assert [line.endswith("down;") for line in servers(nginx.file)] == [False, True, False]


def test_a_configuration_that_fails_its_test_is_put_back_and_traffic_goes_on(nginx: Front, backends: dict[str, int]) -> None:
    nginx.file.write_text(nginx.file.read_text() + "nonsense\n")
    before = nginx.file.read_text()
    with Load(nginx.port) as load, pytest.raises(PermanentError) as caught:
        carry_out(upstream(backends, blue=1), context_in(nginx.policy))
    assert str(caught.value).startswith(f"web: the test failed, and {nginx.file} is as it was: ")
    assert "unexpected end of file" in str(caught.value)
    assert (nginx.file.read_text(), load.failed) == (before, [])
    assert [path.name for path in nginx.file.parent.glob("*upstreams.conf*")] == ["upstreams.conf"]


def test_a_change_that_was_written_and_not_loaded_is_done_again_from_the_text_that_nginx_runs(
    nginx: Front, backends: dict[str, int]
) -> None:
    step, context = upstream(backends, blue=1, green=9), context_in(nginx.policy, seconds=1)
    hung = Policy(nginx={"edge": replace(nginx.policy.nginx["edge"], reload=("sleep", "60"))})
    first = step.plan(context)
    with pytest.raises(InDoubtError, match=r"^sleep had not ended when the step's deadline passed, and was killed\.$"):
        step.apply(context_in(hung, seconds=1), first)
    assert step.probe(context_in(nginx.policy), first) is Probe.NOT_DONE
    again = step.plan(context_in(nginx.policy))
    assert (again.digest, again.notes[-1]) == (first.digest, "an earlier change was written and not loaded")
    carry_out(step, context_in(nginx.policy))
    assert step.probe(context_in(nginx.policy), first) is Probe.DONE
    assert [line.split()[2] for line in servers(nginx.file)[1:]] == ["weight=1", "weight=9"]


def test_other_lines_of_the_file_stay_as_they_are(nginx: Front, backends: dict[str, int]) -> None:
    before = nginx.file.read_text()
    step = upstream(backends, blue=1)
    change, _ = carry_out(step, context_in(nginx.policy))
    after = nginx.file.read_text()
    assert after.splitlines()[0] == "# stopgap.dev/mark: INC-1.1/step/1"
    wanted = before.replace(f":{backends['blue']} weight=5 max_fails=3;", f":{backends['blue']} weight=1 max_fails=3;")
    assert after.split("\n", 1)[1] == wanted
    assert change.notes == ("connections that are kept alive are closed by the reload",)


def test_a_file_that_somebody_changed_since_the_plan_is_a_conflict(nginx: Front, backends: dict[str, int]) -> None:
    context, step = context_in(nginx.policy), upstream(backends, blue=1)
    change = step.plan(context)
    edit(nginx.file)
    with pytest.raises(ConflictError, match=r"upstreams.conf changed since it was read; nothing was written\.$"):
        step.apply(context, change)


def test_an_upstream_or_a_server_that_is_not_there_is_answered_with_those_there_are(nginx: Front, backends: dict[str, int]) -> None:
    with pytest.raises(PermanentError, match=r"upstreams.conf has no upstream shop; exactly one is needed\. It has: other, web\.$"):
        NginxUpstream(proxy="edge", upstream="shop", weights={"a:1": 1}).plan(context_in(nginx.policy))
    with pytest.raises(PermanentError, match=rf"has no server a:1\. It has: 127\.0\.0\.1:{backends['blue']}, "):
        NginxUpstream(proxy="edge", upstream="web", weights={"a:1": 1}).plan(context_in(nginx.policy))
