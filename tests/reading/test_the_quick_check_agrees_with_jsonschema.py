from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from cases import BROKEN, OK
from stopgap import document, schema

KINDS = {"Policy": "policy", "Drill": "drill"}
READABLE = [path for path in (*OK, *BROKEN) if document.examine(path)[0] is not None]


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.stem)
def test_both_find_the_same_places(path: object) -> None:
    found, _ = document.examine(path)  # type: ignore[arg-type]
    assert found is not None
    kind = found.data.get("kind") if isinstance(found.data, dict) else None
    name = KINDS.get(str(kind), "runbook")
    slow = Draft202012Validator(schema.load(name)).iter_errors(found.data)
    quick = schema.compiled(schema.load(name)).iter_errors(found.data)
    assert sorted({str(list(error.absolute_path)) for error in slow}) == sorted({str(list(error.instance_path)) for error in quick})
