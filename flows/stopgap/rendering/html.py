"""Values in HTML that no template makes; templates escape by themselves (`stopgap.web.rendering`)."""

from __future__ import annotations

import html

from stopgap.rendering import characters


def text(value: object) -> str:
    """Return a value as text of an element or an attribute."""
    return html.escape(characters.block(value))
