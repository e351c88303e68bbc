"""`nginx.upstream`: move traffic between the servers of an nginx upstream: file, test, reload; the file is put back when the test fails.

Before the file is changed, its present text is kept beside it in FILE.stopgap, and taken away when nginx has been told to reload. So whoever
comes after a crash knows that nginx may still run the old text, and has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import guard, programs, shifting
from stopgap.actions.contract import (
    Action,
    Change,
    ConflictError,
    Context,
    Effect,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    Undoes,
    action,
)

if TYPE_CHECKING:
    from pathlib import Path

    from stopgap.policy.model import Nginx

MARK = "# stopgap.dev/mark: "
Server = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\[\]/-]+$", max_length=200)]
_SERVER = re.compile(r"^(?P<head>\s*server\s+)(?P<name>[^\s;]+)(?P<options>[^;]*);", re.MULTILINE)
_WEIGHT = re.compile(r"\s+weight=(\d+)")
_DOWN = re.compile(r"\s+down\b")


@action
class NginxUpstream:
    """Give the servers of an nginx upstream other weights: the file is written, tested and reloaded, and put back when the test fails."""

    name: ClassVar[str] = "nginx.upstream"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {"nginx": ["write the file that policy.yaml names and its folder, and run its two commands"]}
    outputs: ClassVar[Mapping[str, str]] = {"moved": "the largest part of the traffic, in percent, that one server gained or lost"}

    proxy: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$", description="The nginx's name under `nginx` in policy.yaml.")]
    upstream: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", description="The upstream's name.")]
    weights: Annotated[
        dict[Server, Annotated[int, Field(ge=0, le=1000)]],
        Field(
            min_length=1, description="Servers, as they stand in the file, and their weights; 0 marks one as down. Others stay as they are."
        ),
    ]

    def targets(self) -> frozenset[Target]:
        """The file, because it is written as a whole."""
        return frozenset({Target(f"nginx/{self.proxy}/upstreams")})

    def plan(self, context: Context) -> Change:
        """Read the file, or the text that nginx still runs when an earlier change was written and not loaded."""
        place = _place(context, self.proxy)
        text = _text(place.file)
        pending = _pending(place.file)
        now = _weights(self._block(str(pending["before"]) if pending else text, place))
        unknown = [name for name in self.weights if name not in now]
        if unknown:
            raise PermanentError(
                f"The upstream {self.upstream} in {place.file} has no server {', '.join(unknown)}. It has: {', '.join(now)}."
            )
        after = now | self.weights
        if not any(after.values()):
            raise PermanentError(f"{self.upstream}: every server would be down; traffic would go nowhere.")
        notes = ("connections that are kept alive are closed by the reload",)
        return Change(
            summary=f"{self.upstream}: traffic from {shifting.show(now)} to {shifting.show(after)}",
            now=now,
            after=after,
            material=now,
            undo={name: now[name] for name in self.weights},
            precondition=_digest(text),
            notes=(*notes, "an earlier change was written and not loaded") if pending else notes,
            measures={"shift": shifting.moved(now, after)},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Keep the old text, write the new one, test it, reload; put the old text back when the test or the reload fails."""
        place = _place(context, self.proxy)
        if context.is_dry:
            raise guard.DryRunViolation(f"A dry run tried to write {place.file}. Nothing was written.")
        if not change.is_empty:
            context.sending()
            self._write(context, place, change)
        return Outcome(changed=not change.is_empty, summary=change.summary, data={"moved": change.measures["shift"]})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look for our mark in the file, whether nginx was told to reload it, and compare the weights."""
        place = _place(context, self.proxy)
        text = _text(place.file)
        if _pending(place.file) is not None or f"{MARK}{context.mark}\n" not in text:
            return Probe.NOT_DONE
        return Probe.DONE if _weights(self._block(text, place)) == dict(change.after) else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Give the servers the weights that they had."""
        return None if change.is_empty else NginxUpstream(proxy=self.proxy, upstream=self.upstream, weights=dict(change.undo))

    def _write(self, context: Context, place: Nginx, change: Change) -> None:
        text, pending = _text(place.file), _pending(place.file)
        if _digest(text) != change.precondition:
            raise ConflictError(f"{place.file} changed since it was read; nothing was written.")
        before = str(pending["before"]) if pending else text
        _replace(_beside(place.file), json.dumps({"mark": context.mark, "before": before}), like=place.file)
        block = self._block(before, place)
        new = before.replace(block, _with(block, self.weights))
        head = f"{MARK}{context.mark}\n"
        _replace(place.file, head + re.sub(rf"^{re.escape(MARK)}.*\n", "", new, flags=re.MULTILINE), like=place.file)
        for what, argv in (("test", place.test), ("reload", place.reload)):
            ended = programs.run(context, argv)
            if ended.status:
                _replace(place.file, before, like=place.file)
                _beside(place.file).unlink()
                raise PermanentError(f"{self.upstream}: the {what} failed, and {place.file} is as it was: {ended.said or ended.status}")
        _beside(place.file).unlink()

    def _block(self, text: str, place: Nginx) -> str:
        found = re.findall(rf"^\s*upstream\s+{re.escape(self.upstream)}\s*\{{[^}}]*\}}", text, flags=re.MULTILINE)
        if len(found) != 1:
            known = ", ".join(re.findall(r"^\s*upstream\s+(\S+)\s*\{", text, flags=re.MULTILINE)) or "none"
            raise PermanentError(f"{place.file} has {len(found) or 'no'} upstream {self.upstream}; exactly one is needed. It has: {known}.")
        return str(found[0])


def _place(context: Context, proxy: str) -> Nginx:
    known = context.policy.nginx
    if proxy not in known:
        raise PermanentError(f'policy.yaml knows no nginx "{proxy}"; it knows: {", ".join(sorted(known)) or "none"}.')
    return known[proxy]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path} cannot be read: {error}.") from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.stopgap")


def _pending(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(_beside(path).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PermanentError(f"{_beside(path)} cannot be read: {error}. It holds what nginx ran before an interrupted change.") from error
    return dict(found)


def _replace(path: Path, text: str, *, like: Path) -> None:
    """Write a file in one go, with the mode and owner of another, durably."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        seen = like.stat()
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(seen.st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(draft, seen.st_uid, seen.st_gid)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PermanentError(f"{path} cannot be written: {error.strerror}.") from error


def _weights(block: str) -> dict[str, int]:
    return {found["name"]: _weight(found["options"]) for found in _SERVER.finditer(block)}


def _weight(options: str) -> int:
    named = _WEIGHT.search(options)
    return 0 if _DOWN.search(options) else int(named[1]) if named else 1


def _with(block: str, weights: Mapping[str, int]) -> str:
    def changed(found: re.Match[str]) -> str:
        if found["name"] not in weights:
            return found[0]
        weight, rest = weights[found["name"]], _DOWN.sub("", found["options"])
        # A server that is down keeps the weight that it had.
        named = f" weight={weight}"
        if weight == 0:
            rest += " down"
        else:
            rest = _WEIGHT.sub(named, rest) if _WEIGHT.search(rest) else rest + named
        return f"{found['head']}{found['name']}{rest};"

    return _SERVER.sub(changed, block)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
