"""What the office's services answer, one function for each call; see `fixtures_office`."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fixtures_office import Office

# POSTs that only ask.
READING = re.compile(r"/_search$|/graphql$|/jobs/export$|/oauth/token$")
PATHS = {"newrelic": "/graphql", "splunk": "", "datadog": "/datadog"}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "jira": {"project": "OPS", "settle": "0.1s"},
    "statuspage": {"page": "p1"},
    "elasticsearch": {"index": "logs-*"},
    "newrelic": {"account": "42"},
    "zoom": {"account": "a1", "client": "c1"},
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the parts of its path, its query, its body."""

    parts: Sequence[str]
    query: Mapping[str, str]
    body: Any


def base(url: str, kind: str) -> str:
    """Return where a kind of service is at this office."""
    return url + PATHS.get(kind, f"/{kind}")


def settings(url: str, kind: str) -> dict[str, str]:
    """Return what policy.yaml says of a kind of service besides."""
    return {**SETTINGS.get(kind, {}), **({"login": url} if kind == "zoom" else {})}


def knows(authorization: str, password: str) -> bool:
    """Say whether basic authentication names the password."""
    with_user = authorization.partition("Basic ")[2]
    try:
        return password in base64.b64decode(with_user).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False


def jira_search(office: Office, asked: Asked) -> Any:
    jql = asked.query["jql"]
    labels = re.findall(r'labels = "([^"]+)"', jql)
    found = [each for each in office.issues.values() if set(labels) <= set(each["fields"]["labels"])]
    if "statusCategory != Done" in jql:
        found = [each for each in found if each["fields"]["status"]["statusCategory"]["key"] != "done"]
    if found and office.is_late:
        office.is_late -= 1
        found = []
    return {"issues": found, "total": len(found), "isLast": True}


def jira_create(office: Office, asked: Asked, *, is_counted: bool = True) -> Any:
    key = f"OPS-{len(office.issues) + 1}"
    status = {"name": "To Do", "statusCategory": {"key": "new"}}
    issue = {"id": str(10000 + len(office.issues)), "key": key, "fields": {**asked.body["fields"], "status": status, "comments": []}}
    office.issues[key] = issue
    if is_counted:
        office.count(asked.body["fields"]["summary"])
    return 201, {"id": issue["id"], "key": key, "self": "there"}, {}


def jira_read(office: Office, asked: Asked) -> Any:
    found = office.issues.get(asked.parts[0])
    return found or (404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}}, {})


def jira_comments(office: Office, asked: Asked) -> Any:
    return {"comments": [{"id": "1", "body": each} for each in office.issues[asked.parts[0]]["fields"]["comments"]]}


def jira_comment(office: Office, asked: Asked) -> Any:
    fields = office.issues[asked.parts[0]]["fields"]
    fields["comments"].append(asked.body["body"])
    office.count(fields["summary"])
    return 201, {"id": "1", "body": asked.body["body"]}, {}


WAYS = [
    {"id": "21", "name": "Start", "to": {"name": "In Progress", "statusCategory": {"key": "indeterminate"}}},
    {"id": "31", "name": "Finish", "to": {"name": "Done", "statusCategory": {"key": "done"}}},
    {"id": "41", "name": "Drop", "to": {"name": "Won't do", "statusCategory": {"key": "done"}}},
]


def jira_transit(office: Office, asked: Asked) -> Any:
    fields = office.issues[asked.parts[0]]["fields"]
    way = next(each for each in WAYS if each["id"] == str(asked.body["transition"]["id"]))
    fields["status"] = way["to"]
    fields["comments"] += [each["add"]["body"] for each in asked.body["update"]["comment"]]
    office.count(fields["summary"])
    return 204, "", {}


def snow_list(office: Office, asked: Asked) -> Any:
    found = list(office.notes if asked.parts[0] == "sys_journal_field" else office.records.values())
    for part in asked.query["sysparm_query"].split("^"):
        if part.startswith("ORDERBY"):
            continue
        name, how, value = re.fullmatch(r"([a-z_]+)(=|LIKE|NOT IN)(.*)", part).groups()  # type: ignore[union-attr]  # else the test fails
        if how == "=":
            found = [each for each in found if each[name] == value]
        elif how == "LIKE":
            found = [each for each in found if value in each[name]]
        else:
            found = [each for each in found if each[name] not in value.split(",")]
    names = asked.query["sysparm_fields"].split(",")
    return {"result": [{name: each[name] for name in names} for each in found]}


def snow_create(office: Office, asked: Asked) -> Any:
    number = len(office.records) + 1
    record = {"sys_id": f"{number:032x}", "number": f"INC{number:07}", "state": "1", **asked.body}
    office.records[record["sys_id"]] = record
    office.count(record["short_description"])
    return 201, {"result": record}, {}


def snow_change(office: Office, asked: Asked) -> Any:
    record = office.records[asked.parts[1]]
    note = asked.body.get("work_notes")
    if note:
        office.notes.append({"sys_id": "1", "element_id": record["sys_id"], "element": "work_notes", "value": note})
    else:
        record |= asked.body
    office.count(record["short_description"])
    return {"result": record}


def notify(office: Office, asked: Asked) -> Any:
    office.told.append(asked.body)
    office.count(asked.body["title"])
    return {}


def page_incidents(office: Office, _asked: Asked) -> Any:
    return list(reversed(office.incidents.values()))


def page_write(office: Office, asked: Asked) -> Any:
    given = dict(asked.body["incident"])
    made: dict[str, Any] = {"id": f"i{len(office.incidents) + 1}", "incident_updates": [], "shortlink": "https://stspg.io/1", "name": ""}
    incident: dict[str, Any] = office.incidents[asked.parts[0]] if asked.parts else made
    incident["incident_updates"].insert(0, {"body": given.pop("body"), "status": given["status"]})
    office.components |= given.pop("components", {})
    incident |= given
    office.incidents[incident["id"]] = incident
    office.count(incident["name"])
    return (200 if asked.parts else 201), incident, {}


def page_components(office: Office, _asked: Asked) -> Any:
    return [{"id": name, "status": status} for name, status in office.components.items()]


def zoom_token(_office: Office, asked: Asked) -> Any:
    assert asked.query == {"grant_type": "account_credentials", "account_id": "a1"}
    return {"access_token": "s3cret-of-the-office", "expires_in": 3599}


def zoom_create(office: Office, asked: Asked) -> Any:
    number = len(office.meetings) + 1
    meeting = {**asked.body, "id": number, "join_url": f"https://zoom.us/j/{number}?pwd=x"}
    office.meetings[str(number)] = meeting
    office.count(meeting["topic"])
    return 201, meeting, {}


def elastic(office: Office, asked: Asked) -> Any:
    assert asked.body["query"]["bool"]["filter"][0]["range"]["@timestamp"]["gte"].startswith("now-")
    words = asked.body["query"]["bool"]["must"][0]["query_string"]["query"]
    found = [each for each in office.lines if words in each["message"]]
    hits = [{"_index": "logs-1", "_source": {"@timestamp": each["time"], "message": each["message"]}} for each in found]
    answer = {"hits": {"total": {"value": len(found), "relation": "eq"}, "hits": hits[: asked.body["size"]]}, "took": 1, "timed_out": False}
    return 200, answer, {"x-elastic-product": "Elasticsearch", "content-type": "application/vnd.elasticsearch+json;compatible-with=8"}


def splunk_info(_office: Office, _asked: Asked) -> Any:
    """What the SDK reads to know which of its addresses to use."""
    keys = '<s:key name="version">9.3.0</s:key><s:key name="instance_type">onprem</s:key>'
    content = f'<content type="text/xml"><s:dict>{keys}</s:dict></content>'
    spaces = 'xmlns="http://www.w3.org/2005/Atom" xmlns:s="http://dev.splunk.com/ns/rest"'
    return 200, f"<feed {spaces}><entry><title>server-info</title>{content}</entry></feed>", {"content-type": "text/xml"}


def splunk(office: Office, asked: Asked) -> Any:
    search = asked.body["search"]
    words = search.removeprefix("search ").split(" | ")[0]
    found = [each for each in office.lines if words in each["message"]]
    if search.endswith("| stats count"):
        rows: list[dict[str, str]] = [{"count": str(len(found))}]
    else:
        rows = [{"_time": each["time"], "_raw": each["message"]} for each in found[: int(search.rpartition("| head ")[2])]]
    return "".join(json.dumps({"preview": False, "offset": number, "result": row}) + "\n" for number, row in enumerate(rows))


def jaeger(office: Office, asked: Asked) -> Any:
    wants_failed = asked.query.get("tags") == '{"error":"true"}'
    found = [each for each in office.traces if each["failed"] or not wants_failed]
    return {"data": [_jaeger(each) for each in found if each["service"] == asked.query["service"]]}


def _jaeger(trace: Mapping[str, Any]) -> dict[str, Any]:
    tags = [{"key": "error", "type": "bool", "value": True}] if trace["failed"] else []
    child = {"operationName": "sql", "startTime": 1_700_000_000_000_100, "duration": 50, "tags": tags}
    first = {"operationName": trace["name"], "startTime": 1_700_000_000_000_000, "duration": int(trace["seconds"] * 1e6), "tags": []}
    return {"traceID": trace["id"], "spans": [child, first], "processes": {}}


def zipkin(office: Office, asked: Asked) -> Any:
    wants_failed = asked.query.get("annotationQuery") == "error"
    found = [each for each in office.traces if (each["failed"] or not wants_failed) and each["service"] == asked.query["serviceName"]]
    return [_zipkin(each) for each in found]


def _zipkin(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    tags = {"error": "timed out"} if trace["failed"] else {}
    first = {"traceId": trace["id"], "id": "1", "name": trace["name"], "timestamp": 1_700_000_000_000_000, "tags": {}}
    child = {
        "traceId": trace["id"],
        "id": "2",
        "parentId": "1",
        "name": "sql",
        "timestamp": 1_700_000_000_000_100,
        "duration": 50,
        "tags": tags,
    }
    return [child, {**first, "duration": int(trace["seconds"] * 1e6)}]


def datadog(office: Office, asked: Asked) -> Any:
    assert int(asked.query["to"]) > int(asked.query["from"])
    if office.series == 0:
        return {"status": "error", "error": "Rule 'scope_expr' didn't match"}
    points = [[1.0, 9.0], [2.0, office.value], [3.0, None]]
    one = {"metric": "m", "pointlist": points, "scope": "*"}
    return {"status": "ok", "series": [one] * office.series if office.value is not None else [], "query": asked.query["query"]}


def nerdgraph(office: Office, asked: Asked) -> Any:
    assert asked.body["variables"]["account"] == 42
    if office.series == 0:
        return {"errors": [{"message": "NRQL Syntax Error"}]}
    results = [{"average.duration": office.value}] * office.series
    return {"data": {"actor": {"account": {"nrql": {"results": results}}}}}


ROUTES: Sequence[tuple[str, Callable[[Office, Asked], Any]]] = [
    (r"GET /jira/rest/api/2/serverInfo", lambda office, _: {"deploymentType": office.deployment, "versionNumbers": [9, 12, 0]}),
    (r"GET /jira/rest/api/2/search(?:/jql)?", jira_search),
    (r"GET /jira/rest/api/2/field", lambda _desk, _asked: []),
    (r"POST /jira/rest/api/2/issue", jira_create),
    (r"GET /jira/rest/api/2/issue/([^/]+)", jira_read),
    (r"GET /jira/rest/api/2/issue/([^/]+)/comment", jira_comments),
    (r"POST /jira/rest/api/2/issue/([^/]+)/comment", jira_comment),
    (r"GET /jira/rest/api/2/issue/([^/]+)/transitions", lambda _desk, _asked: {"transitions": WAYS}),
    (r"POST /jira/rest/api/2/issue/([^/]+)/transitions", jira_transit),
    (r"GET /servicenow/api/now/table/([a-z_]+)", snow_list),
    (r"POST /servicenow/api/now/table/([a-z_]+)", snow_create),
    (r"PATCH /servicenow/api/now/table/([a-z_]+)/([0-9a-f]+)", snow_change),
    (r"POST /notify", notify),
    (r"GET /statuspage/v1/pages/p1/incidents", page_incidents),
    (r"POST /statuspage/v1/pages/p1/incidents", page_write),
    (r"PATCH /statuspage/v1/pages/p1/incidents/([^/]+)", page_write),
    (r"GET /statuspage/v1/pages/p1/components", page_components),
    (r"POST /oauth/token", zoom_token),
    (r"GET /zoom/v2/users/me/meetings", lambda office, _: {"meetings": list(office.meetings.values())}),
    (r"POST /elasticsearch/logs-\*/_search", elastic),
    (r"GET /services/server/info/?", splunk_info),
    (r"POST /services/search/v2/jobs/export", splunk),
    (r"GET /jaeger/api/traces", jaeger),
    (r"GET /zipkin/api/v2/traces", zipkin),
    (r"GET /datadog/api/v1/query", datadog),
    (r"POST /graphql", nerdgraph),
    (r"POST /zoom/v2/users/me/meetings", zoom_create),
]
