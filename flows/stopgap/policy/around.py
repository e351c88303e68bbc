"""What stands around the fix: trackers, status pages, bridges, and where logs, traces and metrics are asked for. Each under a name of policy.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stopgap import schema
from stopgap.policy import alerting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopgap.document import Document
    from stopgap.problems import Problem


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of site cannot do without, and what it takes besides. `url` is where it is when policy does not say."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    url: str = ""


_ASKED = ("user", "secret", "link")
KINDS: Mapping[str, Mapping[str, Kind]] = {
    "trackers": {
        "jira": Kind(needs=("url", "secret", "project"), takes=("user", "type", "done", "label", "settle")),
        "servicenow": Kind(needs=("url", "user", "secret"), takes=("table", "done", "close_code", "label")),
    },
    "status_pages": {
        "statuspage": Kind(needs=("page", "secret"), takes=("url", "components"), url="https://api.statuspage.io"),
        "file": Kind(needs=("file",), takes=("title", "link")),
    },
    "bridges": {
        "jitsi": Kind(takes=("url",), url="https://meet.jit.si"),
        "zoom": Kind(needs=("account", "client", "secret"), takes=("url", "login"), url="https://api.zoom.us"),
    },
    "logs": {
        "elasticsearch": Kind(needs=("url", "index"), takes=(*_ASKED, "time", "message")),
        "splunk": Kind(needs=("url", "secret"), takes=("user", "link")),
    },
    "traces": {"jaeger": Kind(needs=("url",), takes=_ASKED), "zipkin": Kind(needs=("url",), takes=_ASKED)},
    "metrics": {
        "datadog": Kind(needs=("secret", "application_secret"), takes=("url", "link"), url="https://api.datadoghq.com"),
        "newrelic": Kind(needs=("account", "secret"), takes=("url", "link"), url="https://api.newrelic.com/graphql"),
        "cloudwatch": Kind(needs=("account",), takes=("link",)),
    },
}
_WORDS = {
    "trackers": "tracker", "status_pages": "status page", "bridges": "bridge", "logs": "place of logs", "traces": "place of traces",
    "metrics": "source of metrics",
}  # fmt: skip
_SECRETS = ("secret", "application_secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One of them: `purpose` is the key of policy.yaml under which it stands, `settings` its kind's own words, `components` parts of a status page by name."""

    purpose: str
    name: str
    kind: str
    url: str = ""
    user: str = ""
    secret: alerting.Secret | None = None
    application_secret: alerting.Secret | None = None
    file: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Render for people: `tracker "default" (jira)`."""
        return f'{word(self.purpose)} "{self.name}" ({self.kind})'

    @property
    def title(self) -> str:
        """The same at the beginning of a sentence."""
        return f"The {self}"


Around = Mapping[str, Mapping[str, Site]]


def word(purpose: str) -> str:
    """Return what one of a purpose is called."""
    return _WORDS[purpose]


def problems(found: Document) -> Iterator[Problem]:
    """What the schema cannot say of them: the kind, and what it needs and takes."""
    for purpose, kinds in KINDS.items():
        for name, value in found.data.get(purpose, {}).items():
            path = (purpose, name)
            kind = kinds.get(value["kind"])
            if kind is None:
                hint = schema.nearest(value["kind"], kinds) or f"the kinds are {schema.listed(kinds)}"
                yield found.problem((*path, "kind"), f'"{value["kind"]}" is no kind of {word(purpose)}', "unknown-kind", hint=hint)
                continue
            for key in kind.needs:
                if key not in value:
                    yield found.problem(path, f'a {word(purpose)} of kind {value["kind"]} needs "{key}"', "missing-key", at_key=True)
            known = ("kind", *kind.needs, *kind.takes)
            for key in value:
                if key not in known:
                    hint = schema.nearest(key, known) or f"it takes {schema.listed(known, last='and')}"
                    says = f'a {word(purpose)} of kind {value["kind"]} does not take "{key}"'
                    yield found.problem((*path, key), says, "unknown-key", hint=hint, at_key=True)


def read(data: Mapping[str, Any], policy: Path) -> Around:
    """Reshape what the schema has let pass; relative files are relative to the policy's folder."""
    return {
        purpose: {name: _site(purpose, name, value, policy) for name, value in data[purpose].items()}
        for purpose in KINDS
        if purpose in data
    }


def _site(purpose: str, name: str, value: Mapping[str, Any], policy: Path) -> Site:
    own = {"kind", "url", "user", "file", "components", *_SECRETS}
    return Site(
        purpose=purpose,
        name=name,
        kind=value["kind"],
        url=value.get("url", KINDS[purpose][value["kind"]].url).rstrip("/"),
        user=value.get("user", ""),
        file=policy.absolute().parent / Path(value["file"]).expanduser() if "file" in value else None,
        settings={key: str(each) for key, each in value.items() if key not in own},
        components=dict(value.get("components", {})),
        **{key: alerting.read_secret(value[key], policy) for key in _SECRETS if key in value},
    )
