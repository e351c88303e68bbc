"""`status.update`: tell customers on the status page how it stands. Each incident has one post there, whoever writes it how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions.around import board as boards
from stopgap.actions.around import site as sites
from stopgap.actions.around.board import Health, Status
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, Probe, Risk, Target, Undoes, action


@action
class StatusUpdate:
    """Say on the status page how the incident stands, and how the components are."""

    name: ClassVar[str] = "status.update"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=2)
    permissions: ClassVar[Mapping[str, Any]] = {
        "statuspage": ["an API key of the organisation that owns the page"],
        "file": ["write the folder of the page"],
    }
    outputs: ClassVar[Mapping[str, str]] = {"url": "where people read it, if the page says so"}

    status: Annotated[Status, Field(description="How it stands.")]
    message: Annotated[str, Field(min_length=1, max_length=5000, description="What customers read.")]
    title: Annotated[str, Field(min_length=1, max_length=160, description="The heading of the post, when it is the first.")]
    components: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=100)], Health],
        Field(description="How parts of the page are now, by name: {checkout: partial_outage}."),
    ] = field(default_factory=dict)
    page: Annotated[str, Field(min_length=1, description="The name of a status page in policy.yaml.")] = "default"

    def targets(self) -> frozenset[Target]:
        """None: several incidents stand on one page at once."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Read what the page says of the incident and of the components."""
        board = boards.connect(context, self.page)
        post = board.read(self._label(context))
        health = board.components(tuple(self.components))
        after = {"status": self.status, "message": self.message, **self.components}
        return Change(
            summary=f"{self.page}: {post.status} -> {self.status}, customers read: {self.message[:100]}",
            now={"status": post.status, "message": post.message, **health},
            after=after,
            material={"status": post.status},
            undo={"status": post.status, "message": post.message, "components": dict(health)},
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Post it, with our mark, unless the newest update carries it already."""
        board = boards.connect(context, self.page)
        post = board.read(self._label(context))
        is_said = change.is_empty or post.mark == sites.mark(context)
        if not is_said:
            update = boards.Update(
                title=self.title,
                status=self.status,
                message=self.message,
                label=self._label(context),
                mark=sites.mark(context),
                components=self.components,
            )
            post = board.write(post, update)
        where = f": {post.url}" if post.url else ""
        return Outcome(changed=not is_said, summary=f"the page says {post.status}{where}", data={"url": post.url})

    def probe(self, context: Context, change: Change) -> Probe:
        """Look whether the incident's newest update carries our mark."""
        post = boards.connect(context, self.page).read(self._label(context))
        return Probe.DONE if post.mark == sites.mark(context) else Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Say what was said before, of components too; a first post is resolved. What customers have read they have read."""
        if change.is_empty:
            return None
        was = change.undo
        is_first = was["status"] == "none"
        return StatusUpdate(
            page=self.page,
            status="resolved" if is_first else was["status"],
            message="This was posted in error." if is_first else was["message"],
            title=self.title,
            components=was["components"],
        )

    def _label(self, context: Context) -> str:
        return sites.label(context, sites.find(context, "status_pages", self.page))
