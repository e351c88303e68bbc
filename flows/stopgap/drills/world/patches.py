"""The three patch types of the Kubernetes API: strategic merge, JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

Merge keys are those of the Kubernetes API's own types: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from stopgap.drills.world import refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopgap.drills.world.kinds import Json

# A list under one of these names is merged item by item; its key is the first of the names that an item holds.
MERGE_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port"),
    "hostAliases": ("ip",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey",),
}


def apply(content_type: str, target: Json, patch: Any) -> Json:
    """Return the patched object; the target stays as it is. Refusal 400, 415 or 422 when the patch cannot be applied."""
    patched = _type_of(content_type)(copy.deepcopy(target), patch)
    if not isinstance(patched, dict):
        raise refusals.bad_request("the patched object is not a JSON object")
    return patched


def _type_of(content_type: str) -> Callable[[Any, Any], Any]:
    known: dict[str, Callable[[Any, Any], Any]] = {
        "application/strategic-merge-patch+json": _strategic_patch,
        "application/merge-patch+json": merge,
        "application/json-patch+json": json_patch,
    }
    found = known.get(content_type.partition(";")[0].strip())
    if found is None:
        raise refusals.unsupported_patch(content_type)
    return found


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: a null removes, an object merges, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _strategic_patch(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        raise refusals.bad_request("a strategic merge patch is a JSON object")
    return strategic(target, patch)


def strategic(target: Json, patch: Json) -> Json:
    """Like a merge patch, but lists with a merge key are merged item by item; `$patch: replace` and `delete` are obeyed."""
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if patch.get("$patch") == "delete":
        return {}
    result = dict(target)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_key(result, key, value)
    _retain(result, patch.get("$retainKeys"))
    return result


def _merge_key(result: Json, key: str, value: Any) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        old = result.get(key)
        result[key] = strategic(old if isinstance(old, dict) else {}, value)
    elif isinstance(value, list):
        result[key] = _merge_list(key, result.get(key) or [], value)
    else:
        result[key] = value


def _retain(result: Json, keys: Any) -> None:
    if isinstance(keys, list):
        for key in set(result) - set(keys):
            del result[key]


def _merge_list(name: str, old: list[Any], new: list[Any]) -> list[Any]:
    key = _merge_key_of(name, new)
    if key is None:
        return new
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in new):
        return [item for item in new if "$patch" not in item]
    result = list(old)
    for item in new:
        _merge_item(result, key, item)
    return result


def _merge_key_of(name: str, items: list[Any]) -> str | None:
    candidates = MERGE_KEYS.get(name, ())
    named = [key for key in candidates if any(isinstance(item, dict) and key in item for item in items)]
    return named[0] if named else None


def _merge_item(items: list[Any], key: str, patch: Json) -> None:
    if key not in patch:
        if patch.get("$patch") != "replace":
            raise refusals.bad_request(f"map: {patch} does not contain declared merge key: {key}")
        return
    place = next((place for place, item in enumerate(items) if item.get(key) == patch[key]), None)
    if patch.get("$patch") == "delete":
        if place is not None:
            del items[place]
    elif place is None:
        items.append(strategic({}, patch))
    else:
        items[place] = strategic(items[place], patch)


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902: add, remove, replace, move, copy, test."""
    if not isinstance(operations, list):
        raise refusals.bad_request("a JSON patch is a list of operations")
    document = {"": target}
    for operation in operations:
        _operate(document, operation)
    return document[""]


def _operate(document: Json, operation: Json) -> None:
    name, path = operation.get("op"), operation.get("path", "")
    if name == "test":
        if _read(document, path) != operation.get("value"):
            raise refusals.Refusal(
                422, "Invalid", f"the server rejected our request due to an error in our request: testing value {path} failed"
            )
    elif name in ("add", "replace"):
        _write(document, path, copy.deepcopy(operation.get("value")), insert=name == "add")
    elif name == "remove":
        _remove(document, path)
    elif name in ("move", "copy"):
        value = copy.deepcopy(_read(document, operation.get("from", "")))
        if name == "move":
            _remove(document, operation.get("from", ""))
        _write(document, path, value, insert=True)
    else:
        raise refusals.bad_request(f"unexpected JSON patch operation: {name}")


def _walk(document: Json, path: str) -> tuple[Any, str]:
    parts = [""] + [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    place: Any = document
    for part in parts[:-1]:
        place = _step(place, part, path)
    return place, parts[-1]


def _step(place: Any, part: str, path: str) -> Any:
    try:
        return place[int(part)] if isinstance(place, list) else place[part]
    except (KeyError, IndexError, ValueError, TypeError):
        raise _missing(path) from None


def _read(document: Json, path: str) -> Any:
    place, last = _walk(document, path)
    return _step(place, last, path)


def _write(document: Json, path: str, value: Any, *, insert: bool) -> None:
    place, last = _walk(document, path)
    if not insert:
        _step(place, last, path)
    if isinstance(place, list):
        index = len(place) if last == "-" else int(last)
        place[index : index if insert else index + 1] = [value]
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise _missing(path)


def _remove(document: Json, path: str) -> None:
    place, last = _walk(document, path)
    _step(place, last, path)
    del place[int(last) if isinstance(place, list) else last]


def _missing(path: str) -> refusals.Refusal:
    return refusals.Refusal(422, "Invalid", f"the server rejected our request due to an error in our request: {path} is missing")
