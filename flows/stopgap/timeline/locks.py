"""Locks: which run works on which target, and which runs wait for it. Rows beside the timeline; a lock of a run that has ended is free.

A run takes all the targets it asks for or none of them. A refused one is remembered as waiting, so that runs that wait for each other are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A run's hold on a target since then; not `is_held`: it waits for it."""

    target: str
    run: str
    since: datetime
    is_held: bool


class Locks(Protocol):
    """The locks of all runs that have not ended. Each call is one transaction; all are safe in threads, processes and machines."""

    def take(self, run: str, targets: Collection[str]) -> tuple[Lock, ...]:
        """Take all of these targets or none. Returns what stands in the way, empty when they are ours; the run then counts as waiting."""

    def forget(self, run: str) -> None:
        """The run waits for nothing any more; what it holds stays."""

    def release(self, run: str, targets: Collection[str]) -> None:
        """Give back what this run holds of these targets; harmless for what it does not hold."""

    def turn(self) -> AbstractContextManager[None]:
        """Be the only one, of all processes, who counts what begins; given back when the block ends or its process dies."""

    def of_all(self) -> tuple[Lock, ...]:
        """Return every lock and every wait, by target, the holder first."""


def in_the_way(found: Iterable[Lock], run: str, targets: Collection[str]) -> tuple[Lock, ...]:
    """Return what others hold of these targets, by target."""
    held = [lock for lock in found if lock.is_held and lock.run != run and lock.target in targets]
    return tuple(sorted(held, key=lambda lock: lock.target))


def is_free(found: Collection[Lock], run: str) -> bool:
    """Say whether nobody holds what this run waits for."""
    return not in_the_way(found, run, {lock.target for lock in found if lock.run == run and not lock.is_held})


def circle(found: Collection[Lock], run: str) -> tuple[Lock, ...]:
    """Return the waits that make this run wait for itself, its own first; empty when there is no such circle."""
    holders = {lock.target: lock.run for lock in found if lock.is_held}
    paths: list[tuple[Lock, ...]] = [(lock,) for lock in found if lock.run == run and not lock.is_held]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        holder = holders.get(path[-1].target)
        if holder == run:
            return path
        if holder is not None and holder not in seen:
            seen.add(holder)
            paths += [(*path, lock) for lock in found if lock.run == holder and not lock.is_held]
    return ()


def gives_way(waits: Collection[Lock], run: str) -> bool:
    """Of runs that wait for each other, exactly one gives way: the one that began to wait last."""
    return max(waits, key=lambda lock: (lock.since, lock.run)).run == run


def ordered(found: Iterable[Lock]) -> tuple[Lock, ...]:
    """Return locks by target, the holder before those who wait, who came first before."""
    return tuple(sorted(found, key=lambda lock: (lock.target, not lock.is_held, lock.since, lock.run)))
