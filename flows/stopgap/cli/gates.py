"""`stopgap gates`: what waits for whom, for how long, and where it is answered."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from stopgap.approvals import entitled, lapse
from stopgap.approvals import gate as gates
from stopgap.cli import asking, examples, starting
from stopgap.clock import SystemClock, format_duration, format_time
from stopgap.incidents import fold
from stopgap.problems import StopgapError
from stopgap.report.export import one_line
from stopgap.timeline import open as timelines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stopgap.policy.model import Policy
    from stopgap.timeline.entry import Timeline


@click.command(epilog=examples.lines(("stopgap gates", "what waits for whom"), ("stopgap gates --json", "the same, for a program")))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(*, as_json: bool) -> None:
    """List every open question: whom it waits for, who has approved, how long it has left, and where to answer."""
    _find_prefect()
    known = asking.runbooks_by_name()
    with timelines.timeline() as timeline:
        rows = list(_open(timeline, {name: asking.policy(found) for name, found in known.items()}, SystemClock().now()))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        click.echo("No run waits for anybody.")
    for row in () if as_json else rows:
        _print(row)


def _find_prefect() -> None:
    from stopgap.engine import server

    try:
        server.use_current()
    except StopgapError:
        return  # without Prefect there is no link; the questions are on the timeline


def _open(timeline: Timeline, policies: dict[str, Policy], now: datetime) -> Iterator[dict[str, Any]]:
    ended = {entry.run for entry in timeline.of_kind("run.finished")}
    asked = dict.fromkeys(entry.run for entry in timeline.of_kind("gate.asked") if entry.run not in ended)
    for name in asked:
        run = fold.find_run(timeline, name)
        gate = gates.waiting(timeline.of_run(name))
        if gate is None:
            continue
        side = entitled.Side.of(policies.get(run.runbook) or asking.policy(), timeline.of_chain(run.incident), now=now)
        gate = lapse.seen(timeline, gate, side)
        glass = side.rules.break_glass
        yield {
            "run": run.id,
            "runbook": run.runbook,
            "mode": str(run.mode),
            "step": gate.step,
            "round": gate.round,
            "asks": one_line(str(gate.asks.get("change", {}).get("summary") or gate.asks.get("why", ""))),
            "waits_for": [person for person in entitled.may_decide(gate, side) if person not in gate.approved_by],
            "roles": list(gate.roles(now)),
            "approved_by": list(gate.approved_by),
            "still_needed": gate.still_needed,
            "lapsed": list(gate.lapsed),
            "asked_at": format_time(gate.asked_at),
            "waits_seconds": int((now - gate.asked_at).total_seconds()),
            "expires_at": format_time(gate.expires_at),
            "left_seconds": max(int((gate.expires_at - now).total_seconds()), 0),
            "may_break_glass": list(glass.people) if glass and now >= gate.asked_at + glass.after else [],
            "link": starting.link(run) if starting.has_link() else "",
        }


def _print(row: dict[str, Any]) -> None:
    drill = "" if row["mode"] == "live" else f"  ({row['mode']}: nothing will be changed)"
    click.echo(f"{row['run']}  {row['step']}: {row['asks']}{drill}")
    approved = f"; approved by {', '.join(row['approved_by'])}, {row['still_needed']} more needed" if row["approved_by"] else ""
    click.echo(f"  waits for {', '.join(row['waits_for']) or 'nobody who may'} ({' or '.join(row['roles']) or 'anybody'}){approved}")
    if len(row["waits_for"]) < row["still_needed"]:
        click.echo(
            f"  too few: {row['still_needed']} must approve, and {len(row['waits_for'])} may; hand a role over, or it is rejected or expires"
        )
    for lost in row["lapsed"]:
        click.echo(f"  {one_line(lost)}")
    click.echo(f"  for {_span(row['waits_seconds'])}, {_span(row['left_seconds'])} left")
    if row["may_break_glass"]:
        click.echo(f"  {', '.join(row['may_break_glass'])} may break the glass:  stopgap approve {row['run']} --break-glass --reason ...")
    click.echo(f"  {row['link']}" if row["link"] else f"  stopgap approve {row['run']}   or   stopgap reject {row['run']}")


def _span(seconds: int) -> str:
    return format_duration(timedelta(seconds=seconds))
