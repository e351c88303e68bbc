"""ServiceNow by its Table API, with plain HTTP: these are three calls of JSON, to which its own library (pysnc) would add a session and retries of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.around.tracker import Ticket
from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

FIELDS = "sys_id,number,short_description,state,correlation_id,correlation_display"
RESOLVED, CLOSED, CANCELED = "6", "7", "8"  # states of an incident, as they are shipped


class ServiceNow:
    """One instance, for one step. The incident's label is the record's correlation_id, the attempt's mark its correlation_display."""

    settles = 0.0  # a record is found as soon as it is written

    def __init__(self, context: Context, site: Site) -> None:
        self._context, self._site = context, site
        self._table = site.settings.get("table", "incident")
        self._done = site.settings.get("done", RESOLVED)

    @web.understood()
    def find(self, *labels: str, is_open: bool = False) -> tuple[Ticket, ...]:
        """Return the records with these labels, the oldest first."""
        fields = ("correlation_id", "correlation_display")
        query = [f"{name}={label}" for name, label in zip(fields, labels, strict=False)]
        query += [f"stateNOT IN{','.join(sorted(self._closed))}"] if is_open else []
        return tuple(map(self._ticket, self._list(self._table, "^".join([*query, "ORDERBYsys_created_on"]), FIELDS)))

    @web.understood()
    def read(self, key: str) -> Ticket:
        """Return the record with this number."""
        found = self._list(self._table, f"number={key.replace('^', '')}", FIELDS)
        if not found:
            raise PermanentError(f"{self._site.title} has no {self._table} {key}.")
        return self._ticket(found[0])

    @web.understood(changes=True)
    def open(self, *, title: str, text: str, labels: tuple[str, str]) -> Ticket:
        """Insert a record."""
        values = {"short_description": title, "description": text, "correlation_id": labels[0], "correlation_display": labels[1]}
        return self._ticket(self._call("POST", self._table, json=values)["result"])

    @web.understood()
    def has_said(self, ticket: Ticket, mark: str) -> bool:
        """Look through the work notes."""
        query = f"element_id={ticket.id}^element=work_notes^valueLIKE{mark}"
        return bool(self._list("sys_journal_field", query, "sys_id"))

    @web.understood(changes=True)
    def comment(self, ticket: Ticket, text: str) -> None:
        """Add a work note, which the people who report to the table do not see."""
        self._call("PATCH", f"{self._table}/{ticket.id}", json={"work_notes": text})

    @web.understood(changes=True)
    def close(self, ticket: Ticket, text: str) -> None:
        """Set the state that policy.yaml calls done."""
        code = self._site.settings.get("close_code", "Solution provided")
        self._call("PATCH", f"{self._table}/{ticket.id}", json={"state": self._done, "close_code": code, "close_notes": text})

    @property
    def _closed(self) -> frozenset[str]:
        return frozenset({self._done, RESOLVED, CLOSED, CANCELED})

    def _list(self, table: str, query: str, fields: str) -> list[dict[str, Any]]:
        params = {"sysparm_query": query, "sysparm_fields": fields, "sysparm_limit": "10", "sysparm_exclude_reference_link": "true"}
        return list(self._call("GET", table, params=params)["result"])

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        url = f"{self._site.url}/api/now/table/{path}"
        headers = {**sites.authorization(self._site), "accept": "application/json"}
        found: dict[str, Any] = web.body(self._site, web.ask(self._context, self._site, method, url, headers=headers, **more))
        return found

    def _ticket(self, record: dict[str, Any]) -> Ticket:
        state = str(record["state"])
        return Ticket(
            key=str(record["number"]),
            id=str(record["sys_id"]),
            title=str(record["short_description"]),
            status=f"state {state}",
            url=f"{self._site.url}/{self._table}.do?sys_id={record['sys_id']}",
            is_closed=state in self._closed,
            labels=(str(record["correlation_id"]), str(record["correlation_display"])),
        )
