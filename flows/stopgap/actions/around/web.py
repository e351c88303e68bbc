"""One request to a site, and what its answer means: refused, busy, lost, or there. For services whose API is plain HTTP, and under the libraries of the others."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from stopgap.actions import exchange
from stopgap.actions.around import site as sites
from stopgap.actions.contract import InDoubtError, PermanentError, TemporaryError
from stopgap.redact import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stopgap.actions.contract import Context
    from stopgap.policy.around import Site

P = ParamSpec("P")
T = TypeVar("T")
LONGEST_READ = 10.0  # seconds
SAID = 300  # characters of an answer that an error shows
FORBIDDEN, BUSY, SERVER_ERRORS, BAD = {401, 403}, {408, 425, 429}, 500, 300


class MissingError(PermanentError):
    """It is not there (404)."""


def ask(  # noqa: PLR0913  the parts of a request
    context: Context,
    site: Site,
    method: str,
    url: str,
    *,
    json: Any = None,
    text: str | bytes | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    reading: str = "",
) -> exchange.Answer:
    """Send it once and return a good answer; raises what any other means for the step."""
    question = exchange.Question(method=method, url=url, headers=headers or {}, json=json, text=text, params=params or {}, reading=reading)
    seconds = context.sending() if question.changes else min(LONGEST_READ, context.seconds_left())
    if seconds <= 0:
        raise TemporaryError(f"{site.title}: the step's deadline has passed; nothing was sent.")
    answer = exchange.ask(context, question, seconds=seconds)
    if answer.status >= BAD:
        raise _refused(site, question, answer)
    return answer


def body(site: Site, answer: exchange.Answer) -> Any:
    """Return the JSON of an answer; PermanentError when it is none: another server answers there."""
    found = answer.body
    if isinstance(found, str) and len(answer.text) >= exchange.MOST:
        raise PermanentError(f"{site.title}: the answer is longer than {exchange.MOST // 1_000_000} MB; ask for less.")
    if isinstance(found, str):
        raise PermanentError(
            f"{site.title} answers with something else than JSON; is {site.url} its address? It said: {shown(site, found)}"
        )
    return found


def understood(*, changes: bool = False) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Turn an answer of another shape than the service's into an error of the contract; for a method of what has a `_site`, or f(context, site, ...).

    `changes`: when it cannot be read, the change may have happened all the same.
    """

    def around(work: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(work)
        def carried(*args: P.args, **more: P.kwargs) -> T:
            try:
                return work(*args, **more)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                site: Any = getattr(args[0], "_site", None) or args[1]
                said = f"{site.title} answered with something else than its API says ({type(error).__name__}: {shown(site, str(error))})."
                if changes:
                    raise InDoubtError(f"{said} It may have happened all the same.") from error
                raise PermanentError(said) from error

        return carried

    return around


def shown(site: Site, text: str) -> str:
    """Return what may be shown of an answer: short, on one line, without the site's own secrets."""
    known = Redaction(each for each in (_known(site, application=which) for which in (False, True)) if each)
    return known.text(" ".join(re.sub(r"<[^>]{0,200}>", " ", text).split()))[:SAID] or "nothing"


def _known(site: Site, *, application: bool) -> str:
    try:
        return sites.secret(site, application=application)
    except PermanentError:
        return ""


def _refused(site: Site, question: exchange.Question, answer: exchange.Answer) -> Exception:
    path = question.url.partition("?")[0]
    said = f"{site.title} answered {question.method} {path} with {answer.status}: {shown(site, answer.text)}"
    if answer.status in FORBIDDEN:
        return PermanentError(f"{said}\n{_credentials(site, answer.status)}")
    if answer.status in BUSY:
        wait = timedelta(seconds=int(answer.retry_after)) if answer.retry_after.isdecimal() else None
        return TemporaryError(f"{said} It was not taken.", retry_after=wait)
    if answer.status >= SERVER_ERRORS:
        return InDoubtError(f"{said} It may have happened all the same.") if question.changes else TemporaryError(said)
    if answer.status == 404:  # noqa: PLR2004  HTTP's own figure
        return MissingError(said)
    return PermanentError(f"{said}{f' (it points to {answer.location}, and no redirect is followed)' if answer.location else ''}")


def _credentials(site: Site, status: int) -> str:
    places = [each.place for each in (site.secret, site.application_secret) if each]
    if not places:
        return f"policy.yaml names no secret for it; add one:  {site.purpose}: {{{site.name}: {{secret: {{env: NAME}}}}}}"
    whose = f" of {site.user}" if site.user else ""
    wants = "is not the right one" if status == 401 else "may not do this"  # noqa: PLR2004  HTTP's own figure
    return f"The secret{whose} {wants}. It comes from: {' and '.join(places)}, as policy.yaml says under {site.purpose}.{site.name}."
