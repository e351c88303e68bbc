"""Traffic divided by weights, the same for load balancers and names: what is now, what will be, and what a probe finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions import shifting
from stopgap.actions.aws.progress import Progress
from stopgap.actions.contract import Change, Outcome, PermanentError, Probe

if TYPE_CHECKING:
    from collections.abc import Mapping


def refuse_nothing(weights: Mapping[str, int]) -> None:
    """ValueError when every weight is 0: AWS would then divide the traffic evenly, or answer nobody."""
    if not any(weights.values()):
        raise ValueError("every weight is 0; at least one must get traffic")


def refuse_unnamed(now: Mapping[str, int], wanted: Mapping[str, int], *, what: str) -> None:
    """PermanentError when something that has a weight now is not named: nobody would know what becomes of it."""
    missing = [name for name in now if name not in wanted]
    if missing:
        listed = ", ".join(f"{name} ({now[name]})" for name in missing)
        raise PermanentError(f"These get traffic now and are not named in `weights`: {listed}. Say for each {what} what it shall get.")


def change(now: Mapping[str, int], wanted: Mapping[str, int], *, what: str, notes: tuple[str, ...] = ()) -> Change:
    """Return the change of weights; the share is what people read."""
    before = {name: now.get(name, 0) for name in wanted}
    moved = ", ".join(f"{name} {share(before, name)} -> {share(wanted, name)}" for name in sorted(wanted))
    return Change(
        summary=f"{what}: {moved}",
        now=before,
        after=dict(wanted),
        material=before,
        undo=before,
        notes=notes,
        measures={"shift": shifting.moved(before, wanted)},
    )


def outcome(done: Change) -> Outcome:
    """Return what a shift did."""
    return Outcome(changed=not done.is_empty, summary=done.summary, data={"weights": dict(done.after), "before": dict(done.now)})


def before(done: Change) -> dict[str, int]:
    """Return the weights that were there."""
    return {str(name): int(weight) for name, weight in done.undo.items()}


def arrived(found: Mapping[str, int], wanted: Mapping[str, int]) -> Progress:
    """Tell whether the weights that are read back are those that were sent."""
    return Progress(_without_zeros(found) == _without_zeros(wanted), ", ".join(f"{name} {share(found, name)}" for name in sorted(found)))


def probe(found: Mapping[str, int], planned: Change) -> Probe:
    """Tell from the weights that are there what became of a change."""
    if _without_zeros(found) == _without_zeros(planned.after):
        return Probe.DONE
    return Probe.NOT_DONE if _without_zeros(found) == _without_zeros(planned.now) else Probe.UNKNOWN


def share(weights: Mapping[str, int], name: str) -> str:
    """Return a weight as a share of the whole: `90%`."""
    return f"{shifting.shares(weights).get(name, 0.0):.3g}%"


def _without_zeros(weights: Mapping[str, int]) -> dict[str, int]:
    return {name: weight for name, weight in weights.items() if weight}
