"""One case for every built-in action; an action of the catalogue without a case fails the kill matrix. See `matrix.case`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from matrix import around, aws, kubernetes, traffic
from matrix.case import NAME, Case
from matrix.systems import POSTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.systems import Systems


def _command(systems: Systems) -> Mapping[str, Any]:
    argv = [*POSTING, f"{systems.web.url}/ok/{NAME}"]
    return {"argv": argv, "undo_argv": argv}


def _request(systems: Systems) -> Mapping[str, Any]:
    url = f"{systems.web.url}/ok/{NAME}"
    return {"method": "POST", "url": url, "json": {"size": 3}, "undo_url": url}


# Runs of these share one target, so they wait for each other: one at a time.
ALONE = frozenset({"command.run"})
NESTED = "kubernetes.pause_rollout"  # what the runbook within a runbook does, without a gate
CASES: Mapping[str, Case] = {
    **around.CASES,
    **aws.CASES,
    **kubernetes.CASES,
    **traffic.CASES,
    "command.run": Case(arguments=_command, effects=2, counted="a recording web server"),
    "http.get": Case(arguments=lambda systems: {"url": f"{systems.web.url}/ok/{NAME}"}, effects=0, counted="a recording web server"),
    "http.request": Case(arguments=_request, effects=2, counted="a recording web server"),
    "http.wait": Case(arguments=lambda systems: {"url": f"{systems.web.url}/ok/{NAME}"}, effects=0, counted="a recording web server"),
    "manual": Case(arguments=lambda _: {"instructions": f"Do something about {NAME}."}, effects=0, counted="a person"),
    "note": Case(arguments=lambda _: {"text": f"This is {NAME}."}, effects=0, counted="the timeline"),
    "prometheus.query": Case(arguments=lambda _: {"query": "up"}, effects=0, counted="a recording web server"),
    "prometheus.wait": Case(arguments=lambda _: {"query": "up", "above": 0}, effects=0, counted="a recording web server"),
    "runbook.run": replace(
        kubernetes.CASES[NESTED], arguments=lambda _: {"runbook": "nested", "parameters": {"name": NAME, "thing": "none"}}
    ),
    "runbook.undo": Case(arguments=lambda _: {}, effects=0, counted="", lacks=lambda _: "every undo of runbook.run is one"),
    "wait": Case(arguments=lambda _: {"for": "1s"}, effects=0, counted="the clock"),
}
