"""Lets a process say where it is and wait there: before and after each durable entry, and before and after what an action sends.

Nothing of this is in the product: the tests put it into the processes that carry runs out. `install` wraps the timeline's append, the actions'
calls and the sockets under them, so that it knows no provider and every new one has its points. At each point the process writes a line to the
tests' Unix socket and goes on when it is answered, or when nobody is there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import json
import multiprocessing
import os
import re
import socket
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

_METHOD = re.compile(rb"[A-Z]{3,7}(?= )")
_MOST_SENDS = 4  # of one kind in one call are points; what repeats after that are polls
LONGEST_HOLD = 600.0  # seconds


@dataclass(slots=True)
class _Call:
    """What this thread does for a run at the moment. `sending` is the method of a request that has left and is not answered."""

    run: str
    step: str
    phase: str
    sending: str = ""
    counts: dict[str, int] = field(default_factory=dict)


class _Here(threading.local):
    call: _Call | None = None
    is_telling = False


_here = _Here()
_socket = ""


def install(path: str) -> None:
    """From now on say each point at the Unix socket `path`."""
    global _socket  # noqa: PLW0603  one a process, as what it wraps
    _socket = path
    _wrap_sockets(socket.socket)
    _when_imported("ssl", lambda module: _wrap_sockets(module.SSLSocket))
    _when_imported("stopgap.timeline.store", lambda module: _wrap_append(module.PostgresTimeline))
    _when_imported("stopgap.actions.registry", _wrap_registry)
    _when_imported("stopgap.engine.attempt", _wrap_verify)
    _when_imported("stopgap.actions.programs", _wrap_programs)
    _when_imported("stopgap.actions.contract", lambda module: _wrap_sending(module.Context))
    for name in ("around.web", "aws.transport", "kubernetes.client"):
        _when_imported(f"stopgap.actions.{name}", _read_patiently)


def _read_patiently(client: Any) -> None:
    """Let a request that only reads take as long as a process may be held: nobody is slow there but the test."""
    client.LONGEST_READ = LONGEST_HOLD


def _wrap_sending(context: Any) -> None:
    """The same of one that may change something, once it may leave. Whoever is held there lives on, renews its lease, and is let go when the part is killed."""
    original = context.sending

    @functools.wraps(original)
    def sending(*arguments: Any) -> float:
        original(*arguments)
        return LONGEST_HOLD

    context.sending = sending


def tell(run: str, *, when: str, what: str, step: str) -> None:
    """Say that this process is at a point, and wait until it may go on."""
    if _here.is_telling:
        return
    _here.is_telling = True
    said = {"run": run, "when": when, "what": what, "step": step, "pid": os.getpid(), "process": multiprocessing.current_process().name}
    try:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(_socket)
            line.sendall(json.dumps(said).encode() + b"\n")
            line.recv(1)
    finally:
        _here.is_telling = False


def _wrap_append(store: Any) -> None:
    original = store.append_all

    @functools.wraps(original)
    def append_all(self: Any, drafts: Sequence[Any]) -> Any:
        last = drafts[-1]
        if last.run:
            tell(last.run, when="before", what=last.kind, step=last.step)
        done = original(self, drafts)
        if last.run:
            tell(last.run, when="after", what=last.kind, step=last.step)
        return done

    store.append_all = append_all


def _wrap_registry(registry: Any) -> None:
    original = registry.load
    known: set[str] = set()

    @functools.wraps(original)
    def load(name: str) -> Any:
        found = original(name)
        if name not in known:
            known.add(name)
            found.apply = _in_phase(found.apply, "apply")
        return found

    registry.load = load


def _wrap_programs(programs: Any) -> None:
    original = programs.run

    @functools.wraps(original)
    def run(context: Any, argv: Sequence[str]) -> Any:
        call, name = _here.call, argv[0].rpartition("/")[2]
        if call:
            tell(call.run, when="before", what=f"{call.phase}: {name}", step=call.step)
        done = original(context, argv)
        if call:
            tell(call.run, when="after", what=f"{call.phase}: {name}", step=call.step)
        return done

    programs.run = run


def _in_phase(original: Any, phase: str) -> Any:
    @functools.wraps(original)
    def call(self: Any, context: Any, *rest: Any) -> Any:
        run, step, _attempt = context.mark.split("/", 2)
        with _during(run, step, phase):
            return original(self, context, *rest)

    return call


def _wrap_verify(attempt: Any) -> None:
    original = attempt.verify

    @functools.wraps(original)
    def verify(work: Any, part: Any) -> Any:
        with _during(work.id, part.step.id, "verify"):
            return original(work, part)

    attempt.verify = verify


@contextlib.contextmanager
def _during(run: str, step: str, phase: str) -> Iterator[None]:
    """The outermost phase counts: what a verification applies is verification."""
    if _here.call:
        yield
        return
    _here.call = _Call(run, step, phase)
    try:
        yield
    finally:
        _here.call = None


def _wrap_sockets(kind: Any) -> None:
    for name in ("send", "sendall"):
        setattr(kind, name, _sending(getattr(kind, name)))
    for name in ("recv", "recv_into"):
        setattr(kind, name, _receiving(getattr(kind, name)))


def _sending(original: Any) -> Any:
    @functools.wraps(original)
    def send(self: Any, data: Any, *rest: Any) -> Any:
        call = _here.call
        if call and not _here.is_telling and not call.sending:
            found = _METHOD.match(bytes(data[:8]))
            call.sending = found[0].decode() if found else "bytes"
            call.counts[call.sending] = call.counts.get(call.sending, 0) + 1
            _tell_sent(call, "before")
        return original(self, data, *rest)

    return send


def _receiving(original: Any) -> Any:
    @functools.wraps(original)
    def receive(self: Any, *rest: Any) -> Any:
        found = original(self, *rest)
        call = _here.call
        if call and not _here.is_telling and call.sending:
            _tell_sent(call, "after")
            call.sending = ""
        return found

    return receive


def _tell_sent(call: _Call, when: str) -> None:
    most = 1 if call.sending in {"GET", "HEAD"} else _MOST_SENDS
    number = call.counts[call.sending]
    if number <= most:
        tell(call.run, when=when, what=f"{call.phase}: {call.sending} {number}", step=call.step)


def _when_imported(name: str, change: Callable[[Any], None]) -> None:
    """Change a module as soon as it is there."""
    if name in sys.modules:
        change(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Watch(name, change))


class _Watch(importlib.abc.MetaPathFinder):
    """Finds one module as everybody else does, and changes it after it was executed."""

    def __init__(self, name: str, change: Callable[[Any], None]) -> None:
        self._name, self._change = name, change

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._change(module)

            loader.exec_module = exec_module
        return spec
