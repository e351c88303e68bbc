"""The reference of every action, as Markdown, from the actions themselves: docs/actions has a page for each provider, and a test keeps them fresh."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap.actions import registry, schemas
from stopgap.actions.catalogue import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stopgap.actions.contract import Action

BEGIN = "<!-- generated from the actions: write it again with  python -m stopgap.actions.reference docs/actions -->"
END = "<!-- end of the generated part -->"
INDEX, BASICS = "README.md", "basics"
_UNDO = {"yes": "can be undone", "no": "cannot be undone", "depends": "can be undone sometimes"}
_TITLES = {
    "aws": "AWS",
    "http": "HTTP",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    BASICS: "Waiting, notes and people",
    "runbook": "Runbooks within runbooks",
    "bridge": "Bridges",
    "status": "Status pages",
    "ticket": "Tickets",
}


def pages(folder: Path) -> dict[Path, str]:
    """Return every page as it should be: what is there beside the generated part stays; one that is missing is made."""
    found = {folder / f"{provider}.md": _sections(names) for provider, names in _providers().items()}
    found[folder / INDEX] = _index()
    return {path: renew(path.read_text() if path.exists() else _new(path), part) for path, part in found.items()}


def renew(page: str, part: str) -> str:
    """Return the page with its generated part replaced; ValueError when it has none."""
    before, after = page.split(BEGIN, maxsplit=1)[0], page.split(END)[1:]
    if BEGIN not in page or not after:
        raise ValueError(f"the page has no part between {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{part}\n{END}{after[0]}"


def _providers() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(ACTIONS):
        found.setdefault(name.split(".")[0] if "." in name else BASICS, []).append(name)
    return found


def _title(provider: str) -> str:
    return _TITLES.get(provider, provider.capitalize())


def _new(path: Path) -> str:
    return f"# {_title(path.stem)}\n\n{BEGIN}\n\n{END}\n"


def _sections(names: Iterable[str]) -> str:
    return "\n".join(section(registry.load(name), schemas.describe(registry.load(name))) for name in names)


def _index() -> str:
    """Return a table for each provider: the action with a link to its page, its first sentence, and what kind it is."""
    lines: list[str] = []
    for provider, names in _providers().items():
        lines += [f"### [{_title(provider)}]({provider}.md)", "", "| action | what it does | |", "|---|---|---|"]
        lines += [_row(registry.load(name), f"{provider}.md") for name in names]
        lines += [""]
    return "\n".join(lines)


def _row(action: type[Action], page: str) -> str:
    sentence = " ".join((inspect.getdoc(action) or "").split()).split(". ")[0].rstrip(".")
    return f"| [`{action.name}`]({page}#{action.name.replace('.', '')}) | {sentence} | {_kind_of(action)} |"


def _kind_of(action: type[Action]) -> str:
    if action.waits:
        return "only waits"
    return "only reads" if action.effect == "reads" else f"changes something, risk {action.risk}, {_UNDO[action.undoes]}"


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
    outputs = "; ".join(f"`{key}`: {text}" for key, text in action.outputs.items()) or "none"
    return [
        f"- It {_kind_of(action)}. Its timeout is {schema['x-default-timeout']} unless the step names one.",
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

    for folder in map(Path, sys.argv[1:]):
        folder.mkdir(exist_ok=True)
        for path, text in pages(folder).items():
            path.write_text(text)
