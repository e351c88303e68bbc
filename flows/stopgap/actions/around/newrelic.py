"""New Relic by NerdGraph, with plain HTTP: it is one POST of GraphQL, and the library that they keep is their agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopgap.actions.around import site as sites
from stopgap.actions.around import web
from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

QUERY = "query($account: Int!, $nrql: Nrql!) { actor { account(id: $account) { nrql(query: $nrql, timeout: 10) { results } } } }"


@web.understood()
def ask(context: Context, site: Site, query: str) -> float | None:
    """Return the one number of the NRQL's one result, None when it is null; NRQL says itself how far it looks back (SINCE)."""
    try:
        account = int(site.settings["account"])
    except ValueError as error:
        raise PermanentError(f"{site.title}: its account in policy.yaml is {site.settings['account']}; a number is needed.") from error
    variables = {"account": account, "nrql": query}
    answer = web.ask(
        context,
        site,
        "POST",
        site.url,
        json={"query": QUERY, "variables": variables},
        headers={"api-key": sites.secret(site)},
        reading="nerdgraph",
    )
    found = web.body(site, answer)
    if found.get("errors"):
        raise PermanentError(f"{site.title} refused the query {query}: {web.shown(site, str(found['errors'][0].get('message')))}")
    results = found["data"]["actor"]["account"]["nrql"]["results"]
    values = [value for each in results for value in each.values()]
    if len(results) > 1 or len(values) > 1:
        raise PermanentError(f"The query {query} gives {len(values)} values; exactly one is needed. Leave out FACET and TIMESERIES.")
    if values and values[0] is not None and (isinstance(values[0], bool) or not isinstance(values[0], int | float)):
        raise PermanentError(
            f"The query {query} gives {str(values[0])[:100]}; a number is needed. Wrap it in average(), count() or the like."
        )
    return float(values[0]) if values and values[0] is not None else None
