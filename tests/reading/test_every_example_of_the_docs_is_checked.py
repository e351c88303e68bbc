from __future__ import annotations

import re
from pathlib import Path

import pytest

from cases import said_of

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(yaml|yaml broken)\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", PAGE, re.MULTILINE | re.DOTALL)
HEAD = {
    "apiVersion": "stopgap/v1",
    "kind": "Runbook",
    "name": "example",
    "title": "An example",
    "description": "An example.",
    "owner": "payments-oncall",
    "severity": "SEV3",
    "defaults": "{cluster: prod, namespace: shop}",
}


@pytest.mark.parametrize(("mark", "text", "said"), BLOCKS)
def test_an_example_says_what_the_page_says(tmp_path: Path, mark: str, text: str, said: str) -> None:
    keys = set(re.findall("^([a-zA-Z]+):", text, re.MULTILINE))
    head = "" if "kind" in keys else "".join(f"{key}: {value}\n" for key, value in HEAD.items() if key not in keys)
    (tmp_path / "policy.yaml").write_bytes((ROOT / "runbooks" / "policy.yaml").read_bytes())
    path = tmp_path / "runbook.yaml"
    path.write_text(head + text, encoding="utf-8")
    assert "".join(f"{line}\n" for line in said_of(path)) == said
    assert (mark == "yaml broken") == bool(said)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 8
