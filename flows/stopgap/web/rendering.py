"""HTML from templates. Everything is escaped, whatever an alert, a person or a system wrote."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from stopgap.clock import format_duration, format_time

if TYPE_CHECKING:
    from datetime import datetime

_SPACES = frozenset("\n\t ")


def render(template: str, **values: Any) -> str:
    """Fill a template in."""
    return _ENVIRONMENT.get_template(template).render(**values)


def plain(text: object) -> str:
    """Return text without what moves a cursor, hides, or turns the direction of writing: a name must not read as another one."""
    kept = (each if each in _SPACES or unicodedata.category(each) not in {"Cc", "Cf", "Co", "Cs"} else "\ufffd" for each in str(text))
    return "".join(kept)


def safe_url(url: str) -> str:
    """Return an address that a browser may open from the page; empty for anything but http and https."""
    return url if url.lower().startswith(("https://", "http://")) else ""


def span(duration: timedelta) -> str:
    """Return a duration to the second, as the page's script shows it too: `1h4m`, `3m20s`, `45s`."""
    seconds = max(int(duration.total_seconds()), 0)
    if seconds >= 3600:  # noqa: PLR2004  an hour
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds))


def clock(moment: datetime) -> str:
    """Return date and time to the second, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def short(moment: datetime, now: datetime) -> str:
    """Return the time, and the date too when it is not today's, in UTC."""
    return f"{moment:%H:%M:%S}" if moment.date() == now.date() else clock(moment)


def epoch(moment: datetime) -> int:
    """Return milliseconds, for the script."""
    return int(moment.timestamp() * 1000)


_ENVIRONMENT = Environment(
    loader=PackageLoader("stopgap.web"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
    finalize=lambda value: plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
)
_ENVIRONMENT.filters.update(safe_url=safe_url, span=span, clock=clock, short=short, epoch=epoch, iso=format_time)
