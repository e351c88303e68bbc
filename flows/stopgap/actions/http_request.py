"""`http.request` and `http.get`: one request to any HTTP service. A redirect is never followed, to no host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from stopgap.actions import exchange, expecting, fields
from stopgap.actions.contract import (
    Action,
    Change,
    Context,
    Effect,
    InDoubtError,
    Outcome,
    PermanentError,
    Probe,
    Risk,
    Target,
    TemporaryError,
    Undoes,
    action,
)
from stopgap.policy import reaching

MARK = "Stopgap-Mark"
SHOWN = 4000  # characters of an answer that are kept
NOT_TAKEN = {408, 425, 429}  # the server says that it did not take the request on
OWN_HEADERS = {"connection", "content-length", "host", "te", "transfer-encoding", "upgrade", MARK.lower()}
Headers = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Annotated[str, Field(pattern=r"^[ -~]*$")]],
    Field(description="Headers; their values are shown as hashes. Give a credential as a parameter with `secret: true`."),
]
OUTPUTS = {"status": "the status of the answer", "body": "the answer: JSON, or text, of at most 4000 characters"}


@action
class HttpGet:
    """Ask an HTTP address once, with GET, and hand its answer on; it fails when the answer is not the expected one."""

    name: ClassVar[str] = "http.get"
    effect: ClassVar[Effect] = "reads"
    risk: ClassVar[Risk] = "low"
    undoes: ClassVar[Undoes] = "no"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {}
    outputs: ClassVar[Mapping[str, str]] = OUTPUTS

    url: Annotated[fields.Url, Field(description="The address; a redirect is not followed.")]
    headers: Headers = field(default_factory=dict)
    status: Annotated[expecting.Status | None, Field(description="The status of a good answer; any of 200 to 299 if left out.")] = None
    expect: expecting.Expect = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what would put credentials where everybody reads them."""
        _refuse(self.headers, self.url)

    def targets(self) -> frozenset[Target]:
        """It only reads."""
        return frozenset()

    def plan(self, context: Context) -> Change:
        """Ask once and say how it is now."""
        answer = _get(context, self.url, self.headers)
        found = "; ".join(expecting.faults(answer, status=self.status, expect=self.expect)) or "as expected"
        return Change(summary=f"GET {self.url} answers {answer.status}, {found}", checked="unchecked")

    def apply(self, context: Context, change: Change) -> Outcome:
        """Ask once; PermanentError says in what the answer is not the expected one."""
        answer = _get(context, self.url, self.headers)
        _hold(f"GET {self.url}", answer, status=self.status, expect=self.expect)
        return Outcome(changed=False, summary=f"GET {self.url} answers {answer.status}", data=_data(answer))

    def probe(self, context: Context, change: Change) -> Probe:
        """It leaves nothing behind: it may be asked again."""
        return Probe.NOT_DONE

    def undo(self, change: Change) -> Action | None:
        """Reading needs no undo."""
        return None


@action
class HttpRequest:
    """Send one request that changes something to an HTTP service, and hold its answer to what is expected."""

    name: ClassVar[str] = "http.request"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "depends"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=1)
    permissions: ClassVar[Mapping[str, Any]] = {"http": ["a host under `http: {hosts: ...}` of policy.yaml, if that is written"]}
    outputs: ClassVar[Mapping[str, str]] = OUTPUTS

    method: Annotated[Literal["POST", "PUT", "PATCH", "DELETE"], Field(description="To read, use http.get.")]
    url: Annotated[fields.Url, Field(description="The address; a redirect is not followed.")]
    headers: Headers = field(default_factory=dict)
    json_: Annotated[dict[str, Any] | None, Field(alias="json", description="The body, sent as JSON.")] = None
    text: Annotated[str | None, Field(max_length=100_000, description="The body, sent as it is; say its Content-Type in `headers`.")] = None
    status: Annotated[expecting.Status | None, Field(description="The status of a good answer; any of 200 to 299 if left out.")] = None
    expect: expecting.Expect = field(default_factory=dict)
    repeatable: Annotated[
        bool, Field(description="Sending it twice does no more than sending it once: it is sent again when in doubt.")
    ] = False
    done_url: Annotated[
        fields.Url | None, Field(description="An address that tells, by GET, whether it is done: nothing is sent when it is.")
    ] = None
    done_expect: Annotated[
        dict[expecting.Pointer, Any],
        Field(description="Values in the JSON of `done_url` that mean: done; if left out, any of 200 to 299 does."),
    ] = field(default_factory=dict)
    undo_method: Annotated[Literal["POST", "PUT", "PATCH", "DELETE"], Field(description="The method that takes it back.")] = "DELETE"
    undo_url: Annotated[fields.Url | None, Field(description="The address that takes it back; without one there is no undo.")] = None
    undo_json: Annotated[dict[str, Any] | None, Field(description="The body of the request that takes it back.")] = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, and what would put credentials where everybody reads them."""
        _refuse(self.headers, self.url, self.done_url, self.undo_url)
        if self.json_ is not None and self.text is not None:
            raise ValueError("give the body as `json` or as `text`, not both")
        if self.done_expect and self.done_url is None:
            raise ValueError("`done_expect` needs a `done_url`, which is asked for it")

    def targets(self) -> frozenset[Target]:
        """The address, without what stands behind a question mark."""
        parts = urlsplit(self.url)
        return frozenset({Target(f"http/{parts.netloc}{parts.path}")})

    def plan(self, context: Context) -> Change:
        """Show the request. Nobody can check it; `done_url`, if there is one, says whether it is needed."""
        self._refuse_host(context)
        after = self._shown()
        is_done = self.done_url is not None and self._is_done(context)
        notes = () if self.done_url or self.repeatable else ("if its answer gets lost, only a human can tell what became of it",)
        return Change(
            summary=f"{self.method} {self.url}" + (": it is done already" if is_done else ""),
            now=after if is_done else dict.fromkeys(after, "not sent"),
            after=after,
            material={"done": is_done},
            checked="predicted" if self.done_url else "unchecked",
            notes=notes,
        )

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send it once, with our mark in the header Stopgap-Mark, and hold the answer to what is expected."""
        if change.is_empty:
            return Outcome(changed=False, summary=change.summary)
        self._refuse_host(context)
        headers = {**self.headers, MARK: context.mark}
        question = exchange.Question(method=self.method, url=self.url, headers=headers, json=self.json_, text=self.text)
        answer = exchange.ask(context, question, seconds=context.sending())
        self._refuse_answer(question, answer)
        _hold(str(question), answer, status=self.status, expect=self.expect)
        return Outcome(changed=True, summary=f"{question} answered {answer.status}", data=_data(answer))

    def probe(self, context: Context, change: Change) -> Probe:
        """Ask `done_url`. What is not done there, or cannot be asked, is sent again if it is repeatable; otherwise only a human can tell."""
        if self.done_url is not None and self._is_done(context):
            return Probe.DONE
        return Probe.NOT_DONE if self.repeatable else Probe.UNKNOWN

    def undo(self, change: Change) -> Action | None:
        """Send the request that takes it back, if the step names one."""
        if self.undo_url is None or change.is_empty:
            return None
        return HttpRequest(
            method=self.undo_method, url=self.undo_url, headers=self.headers, json_=self.undo_json, repeatable=self.repeatable
        )

    def _shown(self) -> dict[str, Any]:
        body = json.dumps(self.json_, indent=2, sort_keys=True, ensure_ascii=False) if self.json_ is not None else self.text
        headers = {f"header {name}": f"hash {_digest(value)}" for name, value in sorted(self.headers.items())}
        return {"request": f"{self.method} {self.url}", **headers, **({"body": body} if body is not None else {})}

    def _is_done(self, context: Context) -> bool:
        answer = _get(context, self.done_url or "", self.headers)
        return not any(expecting.faults(answer, status=None, expect=self.done_expect))

    def _refuse_host(self, context: Context) -> None:
        host, rules = urlsplit(self.url).hostname or "", context.policy.http
        if not reaching.may_change(host, rules):
            allowed = ", ".join(rules.hosts or ()) or "none"
            raise PermanentError(f"Nothing may be changed at {host}: http.hosts in policy.yaml allows only {allowed}. Nothing was sent.")

    def _refuse_answer(self, question: exchange.Question, answer: exchange.Answer) -> None:
        if answer.status == self.status:
            return
        if answer.status in NOT_TAKEN:
            wait = timedelta(seconds=int(answer.retry_after)) if answer.retry_after.isdecimal() else None
            raise TemporaryError(f"{question} answered {answer.status}: it was not taken.", retry_after=wait)
        if answer.status >= 500:  # noqa: PLR2004  the server's own errors
            kind = TemporaryError if self.repeatable else InDoubtError
            raise kind(f"{question} answered {answer.status}; it may have happened all the same. The answer: {answer.text[:300]}")


def _get(context: Context, url: str, headers: Mapping[str, str]) -> exchange.Answer:
    question = exchange.Question(method="GET", url=url, headers=headers)
    return exchange.ask(context, question, seconds=context.seconds_left())


def _hold(what: str, answer: exchange.Answer, *, status: int | None, expect: Mapping[str, Any]) -> None:
    found = list(expecting.faults(answer, status=status, expect=expect))
    if found:
        raise PermanentError(f"{what}: {'; '.join(found)}. The answer: {answer.text[:300].strip() or 'empty'}")


def _data(answer: exchange.Answer) -> dict[str, Any]:
    return {"status": answer.status, "body": answer.body if len(answer.text) <= SHOWN else answer.text[:SHOWN]}


def _refuse(headers: Mapping[str, str], *urls: str | None) -> None:
    for url in urls:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("an address must not carry a password; give it as a header, from a parameter with `secret: true`")
    own = [name for name in headers if name.lower() in OWN_HEADERS]
    if own:
        raise ValueError(f"the headers {', '.join(own)} are written by stopgap itself")


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:12]
