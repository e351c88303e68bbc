"""Atlassian Statuspage by its REST API, with plain HTTP: there is no library for it that somebody keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.around.board import Post
from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.around.board import Update
    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site


class Statuspage:
    """One page, for one step. Whose incident it is, and our mark, stand in the incident's metadata."""

    def __init__(self, context: Context, site: Site) -> None:
        self._context, self._site = context, site

    @web.understood()
    def read(self, label: str) -> Post:
        """Return the newest incident of the page that carries the label; the list's first page has the newest hundred."""
        ours = [each for each in self._call("GET", "incidents", params={"limit": "100"}) if _metadata(each).get("incident") == label]
        return _post(ours[0]) if ours else Post()

    @web.understood()
    def components(self, names: tuple[str, ...]) -> Mapping[str, str]:
        """Read the components, by the names that policy.yaml gives them."""
        for name in names:
            if name not in self._site.components:
                known = ", ".join(sorted(self._site.components)) or "none"
                raise PermanentError(f'policy.yaml knows no component "{name}" of the {self._site}; it knows: {known}.')
        found = {each["id"]: each["status"] for each in self._call("GET", "components")} if names else {}
        gone = [name for name in names if self._site.components[name] not in found]
        if gone:
            raise PermanentError(f"{self._site.title} has no component with the id that policy.yaml gives for {', '.join(gone)}.")
        return {name: found[self._site.components[name]] for name in names}

    @web.understood(changes=True)
    def write(self, post: Post, update: Update) -> Post:
        """Create the incident, or update it."""
        components = {self._site.components[name]: status for name, status in update.components.items()}
        incident = {
            "status": update.status,
            "body": update.message,
            "metadata": {"stopgap": {"incident": update.label, "mark": update.mark}},
            **({"components": components, "component_ids": list(components)} if components else {}),
        }
        if post.id:
            return _post(self._call("PATCH", f"incidents/{post.id}", json={"incident": incident}))
        return _post(self._call("POST", "incidents", json={"incident": {"name": update.title, **incident}}))

    def _call(self, method: str, path: str, **more: Any) -> Any:
        url = f"{self._site.url}/v1/pages/{self._site.settings['page']}/{path}"
        headers = sites.authorization(self._site, bearer="OAuth")
        return web.body(self._site, web.ask(self._context, self._site, method, url, headers=headers, **more))


def _metadata(incident: Mapping[str, Any]) -> Mapping[str, str]:
    return (incident.get("metadata") or {}).get("stopgap") or {}


def _post(incident: Mapping[str, Any]) -> Post:
    updates = incident.get("incident_updates") or [{}]
    return Post(
        id=str(incident["id"]),
        status=str(incident["status"]),
        message=str(updates[0].get("body", "none")),
        mark=_metadata(incident).get("mark", ""),
        url=str(incident.get("shortlink") or ""),
    )
