"""A status page as one HTML file that a web server serves. The page carries its own state; it is replaced whole, so that nobody reads half of one."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap.actions import guard
from stopgap.actions.around import web
from stopgap.actions.around.board import Post
from stopgap.actions.contract import PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stopgap.actions.around.board import Update
    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

_STATE = re.compile(r'<script type="application/json" id="stopgap-status">(.*?)</script>', re.DOTALL)
_KEPT = 50  # posts


class StatusFile:
    """One page, for one step."""

    def __init__(self, context: Context, site: Site) -> None:
        self._context, self._site = context, site
        self._path = site.file or Path()

    @web.understood()
    def read(self, label: str) -> Post:
        """Return the incident's newest post."""
        return next((self._post(each) for each in self._load()["posts"] if each["label"] == label), Post())

    @web.understood()
    def components(self, names: tuple[str, ...]) -> Mapping[str, str]:
        """Return how they are; one that was never named is operational."""
        return {name: self._load()["components"].get(name, "operational") for name in names}

    @web.understood()
    def write(self, post: Post, update: Update) -> Post:
        """Write the page again, with the update on top of its post."""
        if self._context.is_dry:
            raise guard.DryRunViolation(f"A dry run tried to write {self._path}; it may write no page. Nothing was written.")
        self._context.sending()
        with self._alone():
            state = self._load()
            line = {"at": self._context.clock.now().isoformat(timespec="seconds"), "status": update.status, "message": update.message}
            ours = next((each for each in state["posts"] if each["label"] == update.label), None)
            if ours is None:
                ours = {"label": update.label, "title": update.title, "updates": []}
                state["posts"].insert(0, ours)
            ours["mark"], ours["updates"] = update.mark, [line, *ours["updates"]]
            state["components"] |= update.components
            state["posts"] = state["posts"][:_KEPT]
            self._replace(_page(self._site.settings.get("title", "Status"), state))
        return self._post(ours)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            lock = (self._path.parent / f".{self._path.name}.lock").open("w")
        except OSError as error:
            raise PermanentError(
                f"{self._site.title}: {self._path.parent} cannot be written ({error.strerror}). Nothing was changed."
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TemporaryError(f"{self._site.title}: another run writes {self._path} at this moment. Nothing was changed.") from error
            yield

    def _load(self) -> dict[str, Any]:
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return {"posts": [], "components": {}}
        except (OSError, UnicodeDecodeError) as error:
            raise PermanentError(
                f"{self._site.title}: {self._path} cannot be read ({getattr(error, 'strerror', '') or 'not text'})."
            ) from error
        found = _STATE.search(text)
        try:
            state: dict[str, Any] = json.loads(found[1]) if found else {}
        except ValueError:
            state = {}
        if not {"posts", "components"} <= state.keys():
            raise PermanentError(
                f"{self._site.title}: {self._path} is no page of stopgap; it is not overwritten.\nMove it away, or name another file in policy.yaml."
            )
        return state

    def _replace(self, page: str) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with open(descriptor, "w") as file:  # noqa: PTH123  a descriptor is no path
            file.write(page)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        Path(name).replace(self._path)

    def _post(self, post: Mapping[str, Any]) -> Post:
        newest = post["updates"][0]
        return Post(
            id=post["label"], status=newest["status"], message=newest["message"], mark=post["mark"], url=self._site.settings.get("link", "")
        )


def _page(title: str, state: Mapping[str, Any]) -> str:
    components = "".join(f"<li>{html.escape(name)}: {_plain(status)}</li>" for name, status in sorted(state["components"].items()))
    posts = "".join(_section(post) for post in state["posts"])
    kept = json.dumps(state, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title></head><body>\n<h1>{html.escape(title)}</h1>\n<ul>{components}</ul>\n"
        f'{posts or "<p>Nothing is known to be wrong.</p>"}\n<script type="application/json" id="stopgap-status">{kept}</script>\n</body></html>\n'
    )


def _section(post: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<li><time>{html.escape(each['at'])}</time> {_plain(each['status'])}: {html.escape(each['message'])}</li>"
        for each in post["updates"]
    )
    return f"<section><h2>{html.escape(post['title'])}</h2><ul>{lines}</ul></section>\n"


def _plain(status: str) -> str:
    return html.escape(status.replace("_", " "))
