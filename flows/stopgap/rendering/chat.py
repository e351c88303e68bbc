"""Values in chat and mail: no value calls a whole channel, hides an address behind other words, or draws."""

from __future__ import annotations

import re

from stopgap.rendering import characters

_SIGNS = str.maketrans({"<": "\u2039", "`": "\u02cb"})  # Slack's <!channel> and <address|words>; code spans everywhere
_CALL = re.compile(r"(?<![\w.+-])@(?=\w)")  # @here, @everyone, @channel; not the one of a mail address
_LINK = re.compile(r"\](?=\s*[(\[])")  # [words](address), [words][name]
_HIDDEN = re.compile(r"\|\||~~")  # Discord hides or strikes out what is between two of these
_SPACE = "\u2009"  # a thin space, across which no service reads markup


def line(value: object) -> str:
    """Return a value as one line of plain words for chat; addresses stay as they are written."""
    shown = " ".join(characters.line(value).split()).translate(_SIGNS)
    shown = _LINK.sub(f"]{_SPACE}", _CALL.sub(f"@{_SPACE}", shown))
    return _HIDDEN.sub(lambda pair: _SPACE.join(pair.group(0)), shown)


def subject(value: object) -> str:
    """Return a value as the subject of a mail: one line, nothing escaped but what cannot be seen."""
    return " ".join(characters.line(value).split())
