"""Take secrets out of what goes into the timeline: entries are never changed afterwards, so a secret that got in would stay for ever."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HIDDEN = "***"
_SHORTEST = 4  # a shorter secret inside other text would blot out half the language; alone it is hidden all the same


class Redaction:
    """Hides the values it was made with, wherever in JSON they stand: alone, inside a text, in URLs, in base64."""

    def __init__(self, secrets: Iterable[object]) -> None:
        known = {str(secret) for secret in secrets} - {""}
        self._alone = frozenset(known)
        forms = sorted({form for secret in known if len(secret) >= _SHORTEST for form in _forms(secret)}, key=len, reverse=True)
        self._inside = re.compile("|".join(map(re.escape, forms))) if forms else None

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        if text in self._alone:
            return HIDDEN
        return self._inside.sub(HIDDEN, text) if self._inside else text

    def json(self, value: Any) -> Any:
        """Return a JSON value without the secrets, in keys, texts and numbers."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.json(item) for key, item in value.items()}
            case list() | tuple():
                return [self.json(item) for item in value]
            case int() | float() if not isinstance(value, bool) and str(value) in self._alone:
                return HIDDEN
        return value


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is and as it looks on its way: escaped in JSON, quoted in a URL, in base64."""
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield secret.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    yield quote(raw, safe="")
    yield quote_plus(raw)
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
