"""`haproxy.weight`, `haproxy.drain`, `haproxy.ready`: move traffic at an haproxy by its runtime socket, and read back what it took.

A weight that is set at run time lasts until haproxy is started again or reloads its configuration. The runtime carries no mark of ours: a
probe judges by the values, and setting the same values again does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import shifting, sockets
from stopgap.actions.contract import (
    Action,
    Change,
    ConflictError,
    Context,
    Effect,
    InDoubtError,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    Undoes,
    action,
)

if TYPE_CHECKING:
    from stopgap.policy.model import Policy

PAUSE = 0.2  # seconds between two looks at the sessions that are left
DRAINING, DOWN = 0x08, 0x01  # bits of srv_admin_state, set by whoever speaks to the socket
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=200)]
Proxy = Annotated[Name, Field(description="The haproxy's name under `haproxy` in policy.yaml.")]
Backend = Annotated[Name, Field(description="The backend's name.")]
NEEDS = {"haproxy": ["a runtime socket with `level admin`"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of a backend, as haproxy says it is now."""

    weight: int
    is_up: bool
    is_draining: bool


@action
class HaproxyWeight:
    """Give servers of an haproxy backend other weights at run time, and read them back."""

    name: ClassVar[str] = "haproxy.weight"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = NEEDS
    outputs: ClassVar[Mapping[str, str]] = {"moved": "the largest part of the traffic, in percent, that one server gained or lost"}

    proxy: Proxy
    backend: Backend
    weights: Annotated[
        dict[Name, Annotated[int, Field(ge=0, le=256)]],
        Field(min_length=1, description="Servers and their weights; others stay as they are."),
    ]

    def targets(self) -> frozenset[Target]:
        """The backend."""
        return _targets(self.proxy, self.backend)

    def plan(self, context: Context) -> Change:
        """Read the weights, and refuse what would leave no server that is up."""
        found = read(context, self.proxy, self.backend)
        _refuse_unknown(self.backend, found, self.weights)
        now = {name: server.weight for name, server in found.items()}
        after = now | self.weights
        usable = {name for name, server in found.items() if server.is_up and not server.is_draining}
        if not any(after[name] for name in usable):
            raise PermanentError(f"{self.backend}: no server that is up would have any weight; traffic would go nowhere.")
        serving = {name: weight for name, weight in now.items() if name in usable}
        shift = shifting.moved(serving, {name: after[name] for name in usable})
        return Change(
            summary=f"{self.backend}: traffic from {shifting.show(serving)} to {shifting.show({name: after[name] for name in serving})}",
            now=now,
            after=after,
            material=now,
            undo={name: now[name] for name in self.weights},
            notes=("a weight lasts until haproxy reloads its configuration",),
            measures={"shift": shift},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send every weight in one line, and read them back."""
        if not change.is_empty and _weights(context, self) != dict(change.after):
            if _weights(context, self) != dict(change.now):
                raise ConflictError(f"{self.backend}: its weights changed since they were read; nothing was written.")
            told = tell(
                context, self.proxy, "; ".join(f"set server {self.backend}/{name} weight {it}" for name, it in self.weights.items())
            )
            _read_back(told, _weights(context, self), change, what=self.backend)
        return Outcome(changed=not change.is_empty, summary=change.summary, data={"moved": change.measures["shift"]})

    def probe(self, context: Context, change: Change) -> Probe:
        """Compare the weights: the new ones are done, the old ones (or some of each) not, any other is somebody else's."""
        found = _weights(context, self)
        if found == dict(change.after):
            return Probe.DONE
        known = all(found[name] in {change.now.get(name), change.after.get(name)} for name in found)
        return Probe.NOT_DONE if known else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Give the servers the weights that they had."""
        return None if change.is_empty else HaproxyWeight(proxy=self.proxy, backend=self.backend, weights=dict(change.undo))


@action
class HaproxyDrain:
    """Send no new sessions to a server of an haproxy backend, and wait until it has none left."""

    name: ClassVar[str] = "haproxy.drain"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=10)
    permissions: ClassVar[Mapping[str, Any]] = NEEDS
    outputs: ClassVar[Mapping[str, str]] = {}

    proxy: Proxy
    backend: Backend
    server: Annotated[Name, Field(description="The server's name.")]

    def targets(self) -> frozenset[Target]:
        """The backend."""
        return _targets(self.proxy, self.backend)

    def plan(self, context: Context) -> Change:
        """Read the server's state, and refuse to drain the last one that is up."""
        found = read(context, self.proxy, self.backend)
        _refuse_unknown(self.backend, found, [self.server])
        others = [name for name, it in found.items() if name != self.server and it.is_up and not it.is_draining and it.weight]
        if not others:
            raise PermanentError(f"{self.backend}: {self.server} is the last server that takes traffic; it is not drained.")
        return _state_change(self.backend, self.server, found[self.server], after="draining", found=found)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it, read it back, and wait until its last session has ended."""
        _set_state(context, self, change, "drain")
        while left := sessions(context, self.proxy, self.backend, self.server):
            if context.seconds_left() <= PAUSE:
                raise InDoubtError(f"{self.server} still had {left} sessions when the step's deadline passed; it takes no new ones.")
            context.clock.sleep(PAUSE)
        return Outcome(changed=not change.is_empty, summary=f"{self.server} of {self.backend} is drained")

    def probe(self, context: Context, change: Change) -> Probe:
        """Look at the server's state, then at the sessions that it has left."""
        if not _server(context, self).is_draining:
            return Probe.NOT_DONE
        return Probe.IN_PROGRESS if sessions(context, self.proxy, self.backend, self.server) else Probe.DONE

    def undo(self, change: Change) -> Action | None:
        """Let it take traffic again."""
        return None if change.is_empty else HaproxyReady(proxy=self.proxy, backend=self.backend, server=self.server)


@action
class HaproxyReady:
    """Let a server of an haproxy backend take traffic again."""

    name: ClassVar[str] = "haproxy.ready"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = NEEDS
    outputs: ClassVar[Mapping[str, str]] = {}

    proxy: Proxy
    backend: Backend
    server: Annotated[Name, Field(description="The server's name.")]

    def targets(self) -> frozenset[Target]:
        """The backend."""
        return _targets(self.proxy, self.backend)

    def plan(self, context: Context) -> Change:
        """Read the server's state."""
        found = read(context, self.proxy, self.backend)
        _refuse_unknown(self.backend, found, [self.server])
        return _state_change(self.backend, self.server, found[self.server], after="taking traffic", found=found)

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it, and read it back."""
        _set_state(context, self, change, "ready")
        return Outcome(changed=not change.is_empty, summary=f"{self.server} of {self.backend} takes traffic")

    def probe(self, context: Context, change: Change) -> Probe:
        """Look at the server's state."""
        return Probe.DONE if _state(_server(context, self)) == "taking traffic" else Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Drain it again, if it was draining."""
        was = change.now.get("server")
        return HaproxyDrain(proxy=self.proxy, backend=self.backend, server=self.server) if was == "draining" else None


def read(context: Context, proxy: str, backend: str) -> dict[str, Server]:
    """Ask for the servers of a backend, by name; PermanentError when there is no such backend."""
    answer = tell(context, proxy, f"show servers state {backend}")
    lines = [line for line in answer.splitlines() if line.strip()]
    header = next((line for line in lines if line.startswith("# ")), "")
    if not header:
        raise PermanentError(f'haproxy "{proxy}" has no backend "{backend}": {answer.strip() or "it says nothing"}')
    columns = header.removeprefix("# ").split()
    rows = [dict(zip(columns, line.split(), strict=False)) for line in lines[lines.index(header) + 1 :]]
    return {row["srv_name"]: _server_of(row) for row in rows}


def sessions(context: Context, proxy: str, backend: str, server: str) -> int:
    """Ask how many sessions a server has now."""
    lines = tell(context, proxy, "show stat").splitlines()
    columns = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(columns, line.split(","), strict=False)) for line in lines[1:] if line.strip()]
    return next((int(row["scur"]) for row in rows if (row["pxname"], row["svname"]) == (backend, server)), 0)


def tell(context: Context, proxy: str, line: str) -> str:
    """Send one line to the haproxy that policy names so, and return its answer."""
    return sockets.ask(context, _address(context.policy, proxy), line)


def _address(policy: Policy, proxy: str) -> str:
    if proxy not in policy.haproxy:
        raise PermanentError(f'policy.yaml knows no haproxy "{proxy}"; it knows: {", ".join(sorted(policy.haproxy)) or "none"}.')
    return policy.haproxy[proxy]


def _server_of(row: Mapping[str, str]) -> Server:
    admin = int(row["srv_admin_state"])
    return Server(weight=int(row["srv_uweight"]), is_up=row["srv_op_state"] != "0" and not admin & DOWN, is_draining=bool(admin & DRAINING))


def _targets(proxy: str, backend: str) -> frozenset[Target]:
    return frozenset({Target(f"haproxy/{proxy}/{backend}")})


def _refuse_unknown(backend: str, found: Mapping[str, Server], names: Any) -> None:
    unknown = [name for name in names if name not in found]
    if unknown:
        raise PermanentError(f"{backend} has no server {', '.join(unknown)}. It has: {', '.join(found)}.")


def _weights(context: Context, step: HaproxyWeight) -> dict[str, int]:
    return {name: server.weight for name, server in read(context, step.proxy, step.backend).items()}


def _state(server: Server) -> str:
    return "draining" if server.is_draining else "taking traffic" if server.is_up else "down"


def _state_change(backend: str, name: str, server: Server, *, after: str, found: Mapping[str, Server]) -> Change:
    serving = {key: it.weight for key, it in found.items() if it.is_up and (not it.is_draining or key == name)}
    without = {key: weight for key, weight in serving.items() if key != name}
    now = {"server": _state(server)}
    is_same = now["server"] == after
    return Change(
        summary=f"{backend}: {name} {'stays' if is_same else 'goes from ' + now['server'] + ' to'} {after}",
        now=now,
        after={"server": after},
        material=now,
        measures={"shift": 0.0 if is_same else shifting.moved(serving, without)},
    )


def _server(context: Context, step: HaproxyDrain | HaproxyReady) -> Server:
    found = read(context, step.proxy, step.backend)
    _refuse_unknown(step.backend, found, [step.server])
    return found[step.server]


def _set_state(context: Context, step: HaproxyDrain | HaproxyReady, change: Change, state: str) -> None:
    if change.is_empty or _state(_server(context, step)) == change.after["server"]:
        return
    told = tell(context, step.proxy, f"set server {step.backend}/{step.server} state {state}")
    _read_back(told, {"server": _state(_server(context, step))}, change, what=step.server)


def _read_back(told: str, found: Mapping[str, Any], change: Change, *, what: str) -> None:
    if dict(found) == dict(change.after):
        return
    answer = " ".join(told.split()) or "nothing"
    if dict(found) == dict(change.now):
        raise PermanentError(f"{what}: haproxy changed nothing; it says: {answer}.")
    raise InDoubtError(f"{what}: haproxy says {answer}, and now has {dict(found)}, which is not what was sent.")
