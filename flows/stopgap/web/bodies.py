"""Bodies of requests, read with limits: so many bytes, in so many seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BYTES = 1_000_000  # an Alertmanager group of a thousand alerts
SECONDS = 10.0


async def read(request: Request) -> bytes:
    """Return the body; HTTPException 413, 408 or 415 with a sentence."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise HTTPException(415, f"The body is encoded as {encoding[:40]}; send it as it is.")
    _refuse_long(request.headers.get("content-length", "0"))
    try:
        async with asyncio.timeout(SECONDS):
            return await _collect(request)
    except TimeoutError:
        raise HTTPException(408, f"The body did not come within {SECONDS:g} s.", headers={"Connection": "close"}) from None


async def _collect(request: Request) -> bytes:
    found = bytearray()
    async for part in request.stream():
        found += part
        _refuse_long(str(len(found)))
    return bytes(found)


def _refuse_long(length: str) -> None:
    if length.isdecimal() and int(length[:20]) > MOST_BYTES:
        raise HTTPException(
            413, f"The body has more than {MOST_BYTES} bytes, which is the most that is taken.", headers={"Connection": "close"}
        )
