"""Several changes that are asked about in one question, and whom to ask: one decision, for exactly these changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.actions.contract import Change
from stopgap.problems import StopgapError
from stopgap.runbook.model import ApprovalRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stopgap.actions.contract import Checked
    from stopgap.policy.model import RoleName
    from stopgap.runbook.model import StepId

_SHOWN = 5  # changes named in the one line
_CHECKED: tuple[Checked, ...] = ("unchecked", "predicted", "server")


class NobodyDecidesError(StopgapError):
    """The members of one question ask different people, and nobody may decide about all of them."""


def change(found: Mapping[StepId, Change]) -> Change:
    """Return them as one change, whose digest covers what each of them will be and what of now is material to it."""
    return Change(
        summary=_summary([each.summary for each in found.values()]),
        now=_flat({name: each.now for name, each in found.items()}),
        after=_flat({name: each.after for name, each in found.items()}),
        material={name: dict(each.material) for name, each in found.items()},
        checked=next((how for how in _CHECKED if how in {each.checked for each in found.values()}), "predicted"),
        notes=tuple(f"{name}: {note}" for name, each in found.items() for note in each.notes),
    )


def request(found: Sequence[ApprovalRequest]) -> ApprovalRequest:
    """Return the strictest request that answers all of these: roles that every one names, the most approvers, the shortest time.

    NobodyDecidesError when they have no role in common.
    """
    first = found[0]
    if all(each == first for each in found):
        return first
    by = _common([each.by for each in found])
    escalations = {each.escalate for each in found}
    return ApprovalRequest(
        by=by,
        approvers=max(each.approvers for each in found),
        expires=min((each.expires for each in found if each.expires is not None), default=None),
        # Whom only some of them name must not decide about the others.
        escalate=escalations.pop() if len(escalations) == 1 else None,
    )


def undoes(found: Iterable[str]) -> str:
    """Return the worst of what members say about their undo."""
    said = set(found)
    return next(each for each in ("no", "depends", "yes") if each in said or each == "yes")


def _common(asked: Sequence[tuple[RoleName, ...]]) -> tuple[RoleName, ...]:
    named = [roles for roles in asked if roles]  # an empty one lets anybody decide
    if not named:
        return ()
    common = tuple(role for role in named[0] if all(role in roles for roles in named))
    if not common:
        asking = " and ".join(sorted({" or ".join(roles) for roles in named}))
        raise NobodyDecidesError(
            f"Its members ask {asking}, and one question about all of them would have nobody to answer it.\n"
            "Name a role in all of their approvals, or write them as steps one after the other."
        )
    return common


def _summary(summaries: Sequence[str]) -> str:
    if len(summaries) == 1:
        return summaries[0]
    more = f"; and {len(summaries) - _SHOWN} more" if len(summaries) > _SHOWN else ""
    return f"{len(summaries)} changes: {'; '.join(summaries[:_SHOWN])}{more}"


def _flat(sides: Mapping[StepId, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{name} {key}": value for name, side in sides.items() for key, value in side.items()}
