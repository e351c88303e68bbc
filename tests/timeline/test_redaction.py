"""No secret gets into the timeline."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from stopgap.redact import Redaction

SECRET = st.text(min_size=4, alphabet=st.characters(exclude_categories=["Cs"])).filter(lambda text: "*" not in text)


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    redaction = Redaction(["hunter2 & co", 4711])
    shown = {
        "password": "hunter2 & co",
        "url": f"https://ann:{quote('hunter2 & co')}@db/x",
        "header": f"Basic {base64.b64encode(b'hunter2 & co').decode()}",
        "pin": 4711,
        "deep": [{"text": "it is hunter2 & co.", "hunter2 & co": 1}],
        "port": 47110,
        "on": True,
    }
    assert redaction.json(shown) == {
        "password": "***",
        "url": "https://ann:***@db/x",
        "header": "Basic ***",
        "pin": "***",
        "deep": [{"text": "it is ***.", "***": 1}],
        "port": 47110,
        "on": True,
    }


def test_a_short_secret_is_hidden_alone_and_does_not_blot_out_words() -> None:
    redaction = Redaction(["a", ""])
    assert redaction.json(["a", "banana", ""]) == ["***", "banana", ""]


def test_without_secrets_everything_stays() -> None:
    assert Redaction([]).json({"a": ["b", 1, None]}) == {"a": ["b", 1, None]}


@given(secret=SECRET, before=st.text(), after=st.text())
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    redaction = Redaction([secret])
    assert secret not in redaction.text(f"{before}{secret}{after}").replace("***", "\x00\x00\x00")
    assert json.loads(json.dumps(redaction.json({"a": secret}))) == {"a": "***"}
