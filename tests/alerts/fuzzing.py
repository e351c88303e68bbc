"""Bodies that nobody wrote: noise, any JSON, and real deliveries in which something was exchanged. STOPGAP_TEST_FUZZ says how many.

Once for Hypothesis, which makes a failing one small, and once by dice, which are forty times as fast.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from payloads import PAYLOADS

if TYPE_CHECKING:
    from random import Random

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=15,
)
FUZZED = int(os.environ.get("STOPGAP_TEST_FUZZ", "300"))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, str], bytes]:
    """Noise, any JSON, or a real body in which something was exchanged."""
    payload = draw(st.sampled_from(PAYLOADS))
    shape = draw(st.sampled_from(["noise", "json", "changed", "changed", "changed"]))
    if shape == "noise":
        return payload.kind, payload.headers, draw(st.binary(max_size=200))
    if shape == "json":
        return payload.kind, payload.headers, json.dumps(draw(JSON)).encode()
    body = json.loads(payload.raw)
    place = body
    while isinstance(place, dict | list) and place:
        name = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if draw(st.booleans()) or not isinstance(place[name], dict | list) or not place[name]:
            place[name] = draw(JSON)
            break
        place = place[name]
    return payload.kind, payload.headers, json.dumps(body).encode()


SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1e300,
    2**70,
    "",
    "0",
    "\x00",
    "\ud800",
    "x" * 5_000,
    "2026-13-45T99:99:99Z",
    "${{ 1 }}",
    "firing",
)


def rolled(dice: Random) -> tuple[str, dict[str, str], bytes]:
    """The same by dice."""
    payload = dice.choice(PAYLOADS)
    shape = dice.choice(["noise", "json", "cut", "changed", "changed", "changed", "changed"])
    if shape == "noise":
        return payload.kind, payload.headers, dice.randbytes(dice.randrange(200))
    if shape == "json":
        return payload.kind, payload.headers, json.dumps(_anything(dice)).encode()
    if shape == "cut":
        return payload.kind, payload.headers, payload.raw[: dice.randrange(len(payload.raw))]
    body = json.loads(payload.raw)
    for _ in range(dice.randrange(1, 4)):
        _exchange(body, dice)
    return payload.kind, payload.headers, json.dumps(body).encode()


def _exchange(place: Any, dice: Random) -> None:
    """Put something else in one place, or take it away."""
    while isinstance(place, dict | list) and place:
        name = dice.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
        if dice.random() < 0.3 or not isinstance(place[name], dict | list) or not place[name]:
            if dice.random() < 0.2:
                del place[name]
            else:
                place[name] = _anything(dice)
            return
        place = place[name]


def _anything(dice: Random, depth: int = 0) -> Any:
    shape = dice.random()
    if depth > 2 or shape < 0.6:
        return dice.choice(SCALARS)
    inner = [_anything(dice, depth + 1) for _ in range(dice.randrange(4))]
    return inner if shape < 0.8 else {str(dice.choice(SCALARS))[:10]: each for each in inner}
