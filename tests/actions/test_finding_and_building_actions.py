"""The registry: names, the contract, arguments, and schemas for editors."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

import foreign_action
import jsonschema
import pytest
from pydantic import Field

from stopgap.actions import reference, registry, schemas
from stopgap.actions.arguments import ArgumentsError
from stopgap.actions.basic import Note, Wait
from stopgap.actions.catalogue import ACTIONS
from stopgap.actions.checks import faults_of
from stopgap.actions.contract import action
from stopgap.actions.kubernetes.scale import Scale

SCHEMAS = Path(__file__).parents[2] / "schemas" / "actions"
HERE = {"cluster": "prod", "namespace": "shop"}


def test_every_action_of_the_catalogue_keeps_the_contract() -> None:
    found = {name: registry.find(name) for name in registry.names()}
    assert {name: action.name for name, action in found.items()} == {name: name for name in found}
    assert set(found) >= set(ACTIONS)


def test_an_unknown_action_names_the_nearest_one() -> None:
    with pytest.raises(
        registry.UnknownActionError,
        match=r'^There is no action "kubernetes.scail". Did you mean "kubernetes.scale"\? The actions are aws.alb_shift, ',
    ):
        registry.find("kubernetes.scail")


def test_a_missing_library_says_which_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(registry.MissingExtraError, match=r'Install it:  pip install "stopgap\[kubernetes\]"$'):
        registry.find("kubernetes.scale")
    assert registry.find("note") is Note


def test_finding_an_action_imports_no_other_provider_and_not_its_library() -> None:
    code = "import sys; from stopgap.actions import registry; registry.find('kubernetes.scale'); registry.find('note'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "stopgap.actions.kubernetes.scale" in loaded
    assert not {"kubernetes", "prefect", "stopgap.actions.prometheus"} & set(loaded)


def test_an_action_is_built_with_defaults_only_where_it_has_such_a_field() -> None:
    built = registry.build("kubernetes.scale", {"deployment": "web", "replicas": 3, "namespace": "own"}, defaults={**HERE, "region": "eu"})
    assert built == Scale(cluster=HERE["cluster"], namespace="own", deployment="web", replicas=3)  # type: ignore[arg-type]  # a plain str
    assert registry.build("note", {"text": "x"}, defaults=HERE) == Note(text="x")


def test_durations_are_written_as_people_write_them() -> None:
    assert registry.build("wait", {"for": "2m30s"}) == Wait(for_=timedelta(seconds=150))


def test_every_wrong_argument_is_named_at_once() -> None:
    arguments = {"deployment": "Web!", "replicas": "9", "namespce": "shop"}
    with pytest.raises(ArgumentsError) as caught:
        registry.build("kubernetes.scale", arguments, defaults={"cluster": "prod"})
    assert caught.value.faults == (
        '"namespace" is missing',
        '"deployment": string should match pattern \'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$\'; found "Web!"',
        '"replicas": input should be a valid integer; found "9"',
        '"namespce" is not an argument of it; did you mean "namespace"?',
    )


@pytest.mark.parametrize("value", [True, 3.0, "3", -1, 1001, None])
def test_nothing_but_a_number_in_its_bounds_is_a_number_of_replicas(value: Any) -> None:
    with pytest.raises(ArgumentsError, match='"replicas"'):
        registry.build("kubernetes.scale", {**HERE, "deployment": "web", "replicas": value})


@pytest.mark.parametrize("duration", ["3", "0s", "", "1 m", 5])
def test_a_duration_that_is_none_is_refused(duration: Any) -> None:
    with pytest.raises(ArgumentsError, match='"for"'):
        registry.build("wait", {"for": duration})


def test_cluster_and_namespace_have_no_default() -> None:
    for name, schema in schemas.generate().items():
        if name.startswith("kubernetes."):
            assert {"cluster", "namespace"} & set(schema["properties"]) <= set(schema["required"]), name
            assert "cluster" in schema["required"], name


def test_the_committed_schemas_are_fresh_and_valid() -> None:
    generated = schemas.generate()
    committed = {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    assert committed == generated, "write them again:  python -m stopgap.actions.schemas schemas/actions"
    for schema in generated.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["additionalProperties"] is False


def test_the_reference_in_the_docs_is_fresh() -> None:
    folder = SCHEMAS.parents[1] / "docs" / "actions"
    fresh = reference.pages(folder)
    stale = [path.name for path, text in fresh.items() if not path.exists() or path.read_text() != text]
    assert stale == [], "write them again:  python -m stopgap.actions.reference docs/actions"
    assert set(folder.iterdir()) == set(fresh), "a page of a provider that is gone"
    told = "".join(fresh.values())
    assert [name for name in ACTIONS if told.count(f"### `{name}`\n") != 1] == []


def test_what_a_schema_refuses_the_registry_refuses_and_the_other_way_round() -> None:
    validator = jsonschema.Draft202012Validator(schemas.generate(["kubernetes.scale"])["kubernetes.scale"])
    good = {**HERE, "deployment": "web", "replicas": 3}
    for arguments in (good, {**good, "replicas": 1001}, {**good, "x": 1}, {**good, "deployment": "W"}, HERE, {**good, "namespace": ""}):
        try:
            registry.build("kubernetes.scale", arguments)
            accepted = True
        except ArgumentsError:
            accepted = False
        assert accepted == validator.is_valid(arguments), arguments


def test_a_class_that_breaks_the_contract_is_told_all_of_it() -> None:
    @dataclass
    class Careless:
        name: ClassVar[str] = "other"
        effect: ClassVar[str] = "reads"
        undoes: ClassVar[str] = "perhaps"
        waits: ClassVar[int] = 1

    faults = faults_of(Careless, "careless")
    assert "it is no frozen dataclass; decorate it with stopgap.actions.contract.action" in faults
    assert "its `name` is 'other'; 'careless' is needed" in faults
    assert "its `risk` is None; allowed is 'low' or 'high'" in faults
    assert "its `waits` is 1; allowed is False or True" in faults
    assert "its `undoes` is 'perhaps'; allowed is 'yes' or 'no' or 'depends'" in faults
    assert "it has no method `probe`" in faults


def installed(folder: Path, package: str, *points: str) -> None:
    """Put a package with these entry points into a folder, as pip would."""
    (folder / "foreign_action.py").write_text(Path(__file__).with_name("foreign_action.py").read_text())
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[stopgap.actions]", *points, ""]))


def ran(folder: Path, code: str) -> tuple[str, str]:
    code = f"from stopgap.actions import registry\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)})
    return done.stdout, done.stderr


def test_an_action_of_another_package_comes_by_its_entry_point(tmp_path: Path) -> None:
    installed(tmp_path, "foreign", "foreign.ping = foreign_action:Ping", "foreign.bad = foreign_action:nothing")
    code = (
        "print('foreign.ping' in registry.names(), registry.build('foreign.ping', {'word': 'hi'}))\n"
        "try: registry.find('foreign.bad')\n"
        "except registry.BrokenActionError as error: print(error)\n"
    )
    assert ran(tmp_path, code) == (
        (
            "True Ping(word='hi')\n"
            'The action "foreign.bad" (foreign_action:nothing) does not keep the contract:\n  it is None; a class is needed\n'
        ),
        "",
    )


def test_two_actions_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    installed(tmp_path, "foreign", "foreign.ping = foreign_action:Ping", "foreign.ping = foreign_action:Pong")
    installed(tmp_path, "other", "kubernetes.scale = foreign_action:Ping")
    code = (
        "for name in ('foreign.ping', 'kubernetes.scale'):\n"
        "    try: registry.find(name)\n"
        "    except registry.BrokenActionError as error: print(error)\n"
        "print(registry.find('note'))\n"
    )
    out, err = ran(tmp_path, code)
    assert (sorted(out.splitlines()), err) == (
        [
            "<class 'stopgap.actions.basic.Note'>",
            'There are 2 actions named "foreign.ping": the package foreign 1.0 (foreign_action:Ping) and the package foreign 1.0 (foreign_action:Pong).',
            'There are 2 actions named "kubernetes.scale": stopgap itself (stopgap.actions.kubernetes.scale:Scale) and the package other 1.0 (foreign_action:Ping).',
            "Uninstall one of the packages, or rename its action.",
            "Uninstall one of the packages, or rename its action.",
        ],
        "",
    )


def changed(**members: Any) -> type:
    """The foreign action with other members."""
    return type("Ping", (foreign_action.Ping,), {"__doc__": "Say a word.", **members})


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"permissions": {"kubernetes": ["pods"]}}, "is no RBAC rule; give apiGroups, resources and verbs"),
        ({"permissions": {"kubernetes": [{"apiGroups": [""], "resources": ["pods"]}]}}, 'has no "verbs"'),
        (
            {"permissions": {"kubernetes": [{"apiGroups": [""], "resources": ["pods"], "verbs": "get"}]}},
            "has 'get' as \"verbs\"; a list of texts is needed",
        ),
        (
            {"permissions": {"kubernetes": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["{pod}"]}]}},
            "names the argument {pod}, which it does not take",
        ),
        ({"permissions": {"aws": ["UpdateService"]}}, 'is no IAM action; write it like "ecs:UpdateService"'),
        ({"permissions": {"aws": "ecs:UpdateService"}}, "a list of rules is needed"),
        ({"permissions": {"aws": [{"actions": ["ecs:*"], "resources": ["*"], "extra": 1}]}}, 'has an unknown key "extra"'),
        ({"apply": foreign_action.Ping.undo}, "its `apply` takes (change); (context, change) is needed"),
        ({"default_timeout": timedelta(0)}, "its `default_timeout` is 0:00:00; a time longer than nothing is needed"),
        ({"undoes": "yes"}, "it only reads and says that it can be undone; `undoes` must be 'no'"),
        ({"effect": "changes", "waits": True}, "it changes something and says that it only waits; `waits` must be False"),
        ({"outputs": {"word": ""}}, "its output 'word' has no sentence that says what it is"),
    ],
)
def test_what_breaks_the_contract_is_found_at_registration(members: dict[str, Any], fault: str) -> None:
    (found,) = faults_of(changed(**members), "foreign.ping")
    assert found.endswith(fault)


def test_fields_without_a_checkable_type_or_a_description_are_found_at_registration() -> None:
    @action
    class Odd(foreign_action.Ping):
        """Say a word."""

        where: int
        how: Annotated[threading.Lock, Field(description="A lock.")]

    (fault,) = faults_of(Odd, "foreign.ping")
    assert fault.startswith("the types of its fields cannot be checked: ")

    @action
    class Bare(foreign_action.Ping):
        """Say a word."""

        where: int

    assert faults_of(Bare, "foreign.ping") == ("its field 'where' has no description; write Annotated[type, Field(description=...)]",)
