"""An incident with everything that a page shows, and browsers that are let in."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from fixtures_browser import ARGUMENTS, CHROMIUM, PATIENCE
from stopgap import home
from stopgap.approvals import gate as gates
from stopgap.approvals.model import Question
from stopgap.incidents.model import IncidentId, Mode, Run
from stopgap.incidents.open import open_incident, request_run
from stopgap.policy.model import RoleName, Severity
from stopgap.runbook.model import ApprovalRequest, Runbook, StepId
from stopgap.timeline.entry import Draft
from stopgap.web import readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Page

    from stopgap.timeline.entry import Timeline

    Browse = Callable[..., AbstractContextManager[Page]]

RUNBOOK = Runbook(
    name="checkout-latency", title="R", description="", owner="ada", severity=Severity.SEV2, path=Path("r.yaml"), digest="0" * 64, steps=()
)
CHANGE: dict[str, Any] = {
    "summary": "checkout: back from 2.4.1 to 2.4.0",
    "now": {"app: image": "registry.example/checkout:2.4.1", "revision": 7},
    "after": {"app: image": "registry.example/checkout:2.4.0", "revision": 8},
    "notes": ["owned by the HPA checkout"],
}  # fmt: skip


def password() -> str:
    return (home.data_folder() / readers.FILE).read_text().strip()


def write(timeline: Timeline, incident: str, kind: str, text: str, /, *, actor: str = "ada", **data: Any) -> None:
    timeline.append(Draft(chain=incident, incident=incident, kind=kind, actor=actor, text=text, data=data))


def rich_incident(
    timeline: Timeline, *, title: str = "Checkout is slow", name: str = "", url: str = "http://prometheus.example/graph"
) -> tuple[IncidentId, Run]:
    """Open an incident with an alert, people, tasks, an update, and a run that waits at its gate."""
    key = uuid.uuid4().hex
    incident = open_incident(timeline, title=title, severity=Severity.SEV1, actor="stopgap", key=key)
    write(timeline, incident, "alert.opened", f"{name or title} (alertmanager) fires: checkout-latency starts", actor="stopgap",
          source="alertmanager", alert="CheckoutLatencyHigh", episode=1, severity="SEV1", url=url, labels={"service": name or "checkout"})  # fmt: skip
    write(timeline, incident, "incident.acknowledged", f"ada looks after {incident}", person="ada")
    write(
        timeline,
        incident,
        "incident.role",
        "ada took the role incident-commander",
        role="incident-commander",
        person="ada",
        act="taken",
        reason="",
    )
    write(timeline, incident, "task.added", "T1 for ben: ask the bank", task="T1", text=name or "ask the bank", owner="ben", due="")
    write(
        timeline, incident, "update.sent", "Told everybody", text=name or "We roll the release of 02:50 back.", audience="internal", eta=""
    )
    run = request_run(timeline, incident=incident, runbook=RUNBOOK, parameters={}, mode=Mode.LIVE, starter="stopgap", key=key)
    timeline.append(run.draft("run.scheduled", "handed over", data={"flow_run": "f1"}))
    timeline.append(run.draft("step.started", "Scale", step="scale", data={"attempt": 1, "change": CHANGE, "uses": "kubernetes.scale"}))
    timeline.append(run.draft("step.finished", name or "9 replicas, and still slow", step="scale", data={"status": "failed"}))
    ask(timeline, run, name=name)
    return incident, run


def ask(timeline: Timeline, run: Run, *, name: str = "") -> None:
    gates.ask(
        timeline, run, step=StepId("roll_back"), question=Question.APPROVE, request=ApprovalRequest(by=(RoleName("incident-commander"),)),
        expires=timedelta(minutes=15), text="Roll back: may this be done?", allow_self=False,
        asks={
            "digest": "d", "why": name or "the step asks for it", "targets": ["kubernetes/prod/shop/deployment/checkout"], "uses": "kubernetes.rollback",
            "undoes": "yes", "change": {**CHANGE, "summary": name or CHANGE["summary"], "after": {**CHANGE["after"], **({"note": name} if name else {})}},
        },
    )  # fmt: skip


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Open pages with a password, in a Chromium of the given looks: `width`, `scheme` light or dark, `scripts`."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        @contextmanager
        def opened(
            *, width: int = 1100, scheme: Any = "light", scripts: bool = True, user: str = readers.NAME, secret: str | None = None
        ) -> Iterator[Page]:
            context = browser.new_context(
                viewport={"width": width, "height": 980}, color_scheme=scheme, java_script_enabled=scripts,
                http_credentials={"username": user, "password": password() if secret is None else secret},
            )  # fmt: skip
            context.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            yield context.new_page()
            context.close()

        yield opened
        browser.close()
