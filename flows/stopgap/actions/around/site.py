"""From a name in policy.yaml to a service that can be asked: which it is, its secret, and what says whose ticket or meeting something is."""

from __future__ import annotations

import base64
import difflib
import importlib.util
from typing import TYPE_CHECKING

from stopgap.actions.contract import PermanentError
from stopgap.policy import alerting, around

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

LIBRARIES = {
    "jira": "jira",
    "elasticsearch": "elasticsearch",
    "splunk": "splunklib",
    "datadog": "datadog_api_client",
    "cloudwatch": "botocore",
}
EXTRAS = {"cloudwatch": "aws"}  # where an extra is not called as its kind


def find(context: Context, purpose: str, name: str) -> Site:
    """Return the site; PermanentError when policy.yaml does not know it, or its library is not installed."""
    known = context.policy.around.get(purpose, {})
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f' Did you mean "{near[0]}"?'
            if near
            else f"\nAdd one there:  {purpose}: {{{name}: {{kind: {next(iter(around.KINDS[purpose]))}, ...}}}}"
        )
        raise PermanentError(f'policy.yaml knows no {around.word(purpose)} "{name}"; it knows: {", ".join(sorted(known)) or "none"}.{hint}')
    found = known[name]
    library = LIBRARIES.get(found.kind)
    if library and importlib.util.find_spec(library) is None:
        extra = EXTRAS.get(found.kind, found.kind)
        raise PermanentError(
            f'{found.title} needs the library {library}, which is not installed.\nInstall it:  pip install "stopgap[{extra}]"'
        )
    return found


def secret(site: Site, *, application: bool = False) -> str:
    """Return its secret, empty when policy names none; PermanentError says where one that is not there is looked for."""
    place = site.application_secret if application else site.secret
    if place is None:
        return ""
    try:
        return place.values()[0]
    except alerting.NoSecretError as error:
        raise PermanentError(f"{site.title} cannot be asked: {error} Set it where the worker runs. Nothing was sent.") from error


def authorization(site: Site, *, bearer: str = "Bearer") -> Mapping[str, str]:
    """Return the header with its secret: a user's password, or a token; none when policy names no secret."""
    found = secret(site)
    if not found:
        return {}
    if site.user:
        return {"authorization": f"Basic {base64.b64encode(f'{site.user}:{found}'.encode()).decode()}"}
    return {"authorization": f"{bearer} {found}"}


def incident(context: Context) -> str:
    """Return the incident's id, as the mark names it: `INC-12.1/scale/1` is of `INC-12`."""
    return context.mark.split("/")[0].partition(".")[0]


def label(context: Context, site: Site) -> str:
    """Return what marks everything of this incident in a system that outlives our timeline."""
    return f"{site.settings.get('label', 'stopgap')}-{incident(context)}{_origin(context, '-')}"


def mark(context: Context) -> str:
    """Return what marks the effect of this very attempt."""
    return f"{context.mark}{_origin(context, '@')}"


def _origin(context: Context, before: str) -> str:
    found = context.origin()[:8]
    return f"{before}{found}" if found else ""
