"""Under the audit hook of a dry run every kind of service is still asked, and nothing that could change one of them leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from fixtures_office import PASSWORD
from office_answers import base, settings
from stopgap.actions import guard

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_office import Office

STEPS = {
    ("trackers", "jira"): ("ticket.open", {"title": "Slow", "tracker": "it"}),
    ("trackers", "servicenow"): ("ticket.open", {"title": "Slow", "tracker": "it"}),
    ("status_pages", "statuspage"): ("status.update", {"title": "Slow", "message": "x", "status": "investigating", "page": "it"}),
    ("bridges", "zoom"): ("bridge.open", {"bridge": "it"}),
    ("logs", "elasticsearch"): ("logs.search", {"query": "x", "place": "it"}),
    ("logs", "splunk"): ("logs.search", {"query": "x", "place": "it"}),
    ("traces", "jaeger"): ("traces.find", {"service": "x", "place": "it"}),
    ("traces", "zipkin"): ("traces.find", {"service": "x", "place": "it"}),
    ("metrics", "datadog"): ("metrics.query", {"query": "x", "source": "it"}),
    ("metrics", "newrelic"): ("metrics.query", {"query": "x", "source": "it"}),
}
CODE = """
import json, sys
from pathlib import Path
from datetime import timedelta
from stopgap.actions import guard, registry
from stopgap.actions.contract import Context
from stopgap.clock import SystemClock
from stopgap.policy import load
guard.forbid_changes()
clock = SystemClock()
for path, name, arguments in json.loads(sys.argv[1]):
    context = Context(policy=load.load(Path(path)), clock=clock, deadline=clock.now() + timedelta(seconds=20), mark="INC-1.1/x/1", mode="dry")
    step = registry.build(name, arguments)
    change = step.plan(context)
    try:
        step.apply(context, change)
    except guard.DryRunViolation:
        print(name, "refused")
    else:
        print(name, "read")
"""


def test_every_kind_is_read_and_nothing_is_changed_under_the_audit_hook(office: Office, tmp_path: Path) -> None:

    asked = []
    for (purpose, kind), (name, arguments) in STEPS.items():
        site = {"kind": kind, "url": base(office.url, kind), "secret": {"env": "OFFICE_PASSWORD"}, **settings(office.url, kind)}
        site |= {"user": "bot"} if kind == "servicenow" else {"application_secret": {"env": "OFFICE_PASSWORD"}} if kind == "datadog" else {}
        path = tmp_path / f"{kind}.yaml"
        people = {"people": {"ada": {"name": "Ada"}}, "roles": {"incident-commander": {"holders": ["ada"]}}}
        path.write_text(yaml.safe_dump({"apiVersion": "stopgap/v1", "kind": "Policy", **people, purpose: {"it": site}}))
        asked.append((str(path), name, arguments))
    env = {**os.environ, "OFFICE_PASSWORD": PASSWORD}
    done = subprocess.run([sys.executable, "-c", CODE, json.dumps(asked)], capture_output=True, text=True, check=False, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    changing = {"ticket.open", "status.update", "bridge.open"}
    assert told == [[name, "refused" if name in changing else "read"] for name, _ in STEPS.values()]
    assert office.changes() == []
    assert {each.path.split("/")[1] for each in office.heard} >= {"jira", "servicenow", "statuspage", "zoom", "elasticsearch", "services"}


class Asked:
    """A request, as the guard looks at it."""

    def __init__(self, method: str, url: str, content: bytes = b"") -> None:
        self.method, self.url, self.content = method, url, content


@pytest.mark.parametrize(
    ("name", "url", "content", "passes"),
    [
        ("elasticsearch", "https://e/logs-%2A,x/_search?size=1", b"", True),
        ("elasticsearch", "https://e/logs/_delete_by_query", b"", False),
        ("elasticsearch", "https://e/logs/_doc/_search/../1", b"", False),
        ("nerdgraph", "https://n/graphql", b'{"query": "query { actor }"}', True),
        ("nerdgraph", "https://n/graphql", b'{"query": "mutation { dashboardDelete }"}', False),
        ("splunk", "https://s/services/search/v2/jobs/export", b"", True),
        ("splunk", "https://s/services/search/v2/jobs", b"", False),
        ("zoom", "https://z/oauth/token?a=b", b"", True),
        ("zoom", "https://z/v2/users/me/meetings", b"", False),
        ("", "https://e/logs/_search", b"", False),
        ("other", "https://e/logs/_search", b"", False),
    ],
)
def test_a_post_passes_a_dry_run_only_under_its_name_and_at_its_path(name: str, url: str, content: bytes, *, passes: bool) -> None:
    assert guard.only_reads(name, Asked("POST", url, content)) is passes
    assert not guard.only_reads(name, Asked("DELETE", url, content))
