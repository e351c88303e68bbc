"""The JSON Schema of every action, for editors and for `lint`: generated from the actions, committed in schemas/actions.

Write them again after a change:  python -m stopgap.actions.schemas schemas/actions
"""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stopgap import clock
from stopgap.actions import registry
from stopgap.actions.arguments import model_of
from stopgap.actions.catalogue import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pydantic

    from stopgap.actions.contract import Action


def generate(names: Iterable[str] = ACTIONS) -> dict[str, dict[str, Any]]:
    """Return name -> JSON Schema (draft 2020-12) of these actions; those that come with stopgap, if none are named."""
    return {name: describe(registry.load(name)) for name in sorted(names)}


def describe(action: type[Action]) -> dict[str, Any]:
    """Return the JSON Schema of one action's `with:`; what `lint` and the docs need beside it is under `x-`."""
    model = model_of(action)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": action.name,
        "description": inspect.getdoc(action),
        "type": "object",
        "additionalProperties": False,
        "properties": _properties(model),
        "required": [info.alias or name for name, info in model.model_fields.items() if info.is_required()],
        "x-effect": action.effect,
        "x-risk": action.risk,
        "x-undoes": action.undoes,
        "x-waits": action.waits,
        "x-confirms": action.confirms,
        "x-outputs": dict(action.outputs),
        "x-permissions": dict(action.permissions),
        "x-default-timeout": clock.format_duration(action.default_timeout),
    }


def write(folder: Path, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write `<action>.schema.json` for each into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in (schemas or generate()).items():
        (folder / f"{name}.schema.json").write_text(render(schema))


def render(schema: Mapping[str, Any]) -> str:
    """Return the schema as the text that is committed."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _properties(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    found = model.model_json_schema(by_alias=True).get("properties", {})
    for name, info in model.model_fields.items():
        if isinstance(info.default, timedelta):
            found[info.alias or name]["default"] = clock.format_duration(info.default)
    return {key: _simplified(schema) for key, schema in found.items()}


def _simplified(schema: dict[str, Any]) -> dict[str, Any]:
    # pydantic titles a field with its own name, and offers null for one that may be left out: both say nothing to an editor's reader,
    # and an `anyOf` makes a validator's message useless.
    left = {key: value for key, value in schema.items() if key != "title"}
    branches = [branch for branch in left.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1 and left.get("default", ...) is None:
        return {**branches[0], **{key: value for key, value in left.items() if key not in {"anyOf", "default"}}}
    return left


if __name__ == "__main__":
    import sys
    from pathlib import Path as Folder

    for folder in sys.argv[1:]:
        write(Folder(folder))
