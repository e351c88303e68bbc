"""The reference of every action, as Markdown, from the actions themselves: docs/actions.md carries it, and a test keeps it fresh."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from stopgap.actions import registry, schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Action

BEGIN = "<!-- generated from the actions: write it again with  python -m stopgap.actions.reference docs/actions.md -->"
END = "<!-- end of the generated part -->"
_UNDO = {"yes": "can be undone", "no": "cannot be undone", "depends": "can be undone sometimes"}


def render() -> str:
    """Return the generated part, one section for each action that comes with stopgap."""
    sections = [section(registry.load(name), schema) for name, schema in schemas.generate().items()]
    return f"{BEGIN}\n\n" + "\n".join(sections) + f"\n{END}"


def renew(page: str) -> str:
    """Return the page with its generated part replaced by the present one; ValueError when it has none."""
    before, after = page.split(BEGIN, maxsplit=1)[0], page.split(END)[1:]
    if BEGIN not in page or not after:
        raise ValueError(f"the page has no part between {BEGIN!r} and {END!r}")
    return before + render() + after[0]


def section(action: type[Action], schema: Mapping[str, Any]) -> str:
    """Return what one action takes, changes, hands on and needs, in Markdown."""
    lines = [f"### `{action.name}`", "", str(schema["description"]), "", *_arguments(schema), "", *_facts(action, schema), ""]
    return "\n".join(lines)


def _arguments(schema: Mapping[str, Any]) -> list[str]:
    rows = ["| argument | | default | |", "|---|---|---|---|"]
    for key, value in schema["properties"].items():
        default = "required" if key in schema["required"] else f"`{value['default']}`" if "default" in value else "none"
        rows.append(f"| `{key}` | {_kind(value)} | {default} | {value.get('description', '')} |")
    return rows


def _kind(value: Mapping[str, Any]) -> str:
    if "examples" in value:
        return "duration"
    return {"object": "labels"}.get(value["type"], str(value["type"]))


def _facts(action: type[Action], schema: Mapping[str, Any]) -> list[str]:
    kind = (
        "only waits"
        if action.waits
        else "only reads"
        if action.effect == "reads"
        else f"changes something, risk {action.risk}, {_UNDO[action.undoes]}"
    )
    outputs = "; ".join(f"`{key}`: {text}" for key, text in action.outputs.items()) or "none"
    return [
        f"- It {kind}. Its timeout is {schema['x-default-timeout']} unless the step names one.",
        f"- Outputs: {outputs}.",
        f"- Plan: {_sentence(action.plan)}",
        f"- Probe: {_sentence(action.probe)}",
        f"- Undo: {_sentence(action.undo)}",
        *_permissions(action.permissions),
    ]


def _sentence(call: Any) -> str:
    return " ".join((inspect.getdoc(call) or "").split())


def _permissions(permissions: Mapping[str, Any]) -> list[str]:
    if not permissions:
        return ["- Permissions: none."]
    lines = []
    for system, rules in permissions.items():
        lines += [f"- Permissions ({system}):", "", "  ```yaml", *(f"  - {_rule(rule)}" for rule in rules), "  ```"]
    return lines


def _rule(rule: Any) -> str:
    return rule if isinstance(rule, str) else json.dumps(rule)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    for path in map(Path, sys.argv[1:]):
        path.write_text(renew(path.read_text()))
