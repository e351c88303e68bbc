"""`notify.send`: to a real mail server, and to one that takes what a chat takes."""

from __future__ import annotations

import email
import email.policy
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller

from fixtures_cluster import carry_out, context_in
from stopgap.actions import registry
from stopgap.actions.contract import InDoubtError, PermanentError, Probe, TemporaryError
from stopgap.policy.model import Channel, Person, PersonId, Policy
from stopgap.testing.actions import ActionContract, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fixtures_office import Office

SECRET = "tok3n-of-the-chat"


class Box:
    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        if self.answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return self.answer


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def mail() -> Iterator[Controller]:
    smtp = Controller(Box(), hostname="127.0.0.1", port=free_port())
    smtp.start()
    yield smtp
    smtp.stop()


def mailto(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?from=stopgap@example.com&to=ada@example.com&mode=insecure"


def policy(**channels: str) -> Policy:
    return Policy(channels=tuple(Channel(name=name, url=url) for name, url in channels.items()))


def message(*to: str, **more: Any) -> Any:
    return registry.build("notify.send", {"to": list(to), "title": "Checkout is slow", "text": "Ada looks after it.", **more})


def scene(mail: Controller, **more: Any) -> Scene:
    return Scene(
        action=message("duty", **more),
        policy=policy(duty=mailto(mail.port)),
        look=lambda: len(mail.handler.mails),
        has_marks=False,
        adds="each sending is a mail",
        meddle=lambda: None,
        never=dict.fromkeys((Probe.DONE, Probe.NOT_DONE, Probe.IN_PROGRESS), "mail tells nobody whether it arrived"),
    )


class TestMail(ActionContract):
    @pytest.fixture
    def scene(self, mail: Controller) -> Scene:
        return scene(mail)


def test_a_mail_says_what_and_which_step_it_comes_from(mail: Controller) -> None:
    change, outcome = carry_out(message("duty"), context_in(policy(duty=mailto(mail.port))))
    (found,) = mail.handler.mails
    assert (found["To"], found["Subject"]) == ("ada@example.com", "Checkout is slow")
    said = found.get_body().get_content().replace("&nbsp;", " ")  # apprise makes HTML of it
    assert "Ada looks after it." in said
    assert "-- stopgap, INC-1.1/step/1" in said
    assert (outcome.data, outcome.summary) == ({"told": ["duty"]}, "told duty: Checkout is slow")
    assert change.notes == ("if stopgap dies while it sends, only a human can tell whether it arrived",)
    assert mailto(mail.port) not in str(change.to_json())


def test_people_are_told_at_their_own_addresses(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADA", f"json://127.0.0.1:{office.port}/notify")
    ada = PersonId("ada")
    found = Policy(people={ada: Person(id=ada, name="Ada", notify=("${ADA}",))}, channels=office.policy().channels)
    carry_out(message("ada", "chat"), context_in(found))
    assert [each["title"] for each in office.told] == ["Checkout is slow"] * 2


@pytest.mark.parametrize(("repeatable", "answer"), [(False, Probe.UNKNOWN), (True, Probe.NOT_DONE)])
def test_a_message_in_doubt_asks_unless_it_may_be_repeated(*, repeatable: bool, answer: Probe) -> None:
    context, step = context_in(policy(duty=mailto(9))), message("duty", repeatable=repeatable)
    assert step.probe(context, step.plan(context)) is answer


def test_a_server_that_is_not_there_was_told_nothing_and_may_be_tried_again() -> None:
    with pytest.raises(TemporaryError, match=r"^duty could not be told: .+\. Nobody was told\.$"):
        carry_out(message("duty"), context_in(policy(duty=mailto(free_port()))))
    with pytest.raises(TemporaryError, match=r"^chat could not be told: .+\. Nobody was told\.$"):
        carry_out(message("chat"), context_in(policy(chat=f"json://127.0.0.1:{free_port()}/{SECRET}")))


def test_a_line_that_breaks_leaves_the_step_in_doubt(office: Office) -> None:
    office.hangs_up = True
    with pytest.raises(InDoubtError, match=r"^chat could not be told: .+\. The message may have arrived all the same\.$"):
        carry_out(message("chat"), context_in(office.policy()))
    assert len(office.told) == 1


def test_a_refusal_says_who_was_told_and_who_was_not(office: Office, mail: Controller) -> None:
    mail.handler.answer = "554 Go away"
    found = policy(duty=mailto(mail.port), chat=f"json://127.0.0.1:{office.port}/notify")
    with pytest.raises(PermanentError, match=r"^duty could not be told: .+\. Told: chat\.$"):
        carry_out(message("duty", "chat"), context_in(found))
    with pytest.raises(TemporaryError, match=r"Nobody was told\.$") as caught:
        carry_out(message("chat"), context_in(policy(chat=f"json://127.0.0.1:{office.port}/{SECRET}")))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("dutty", 'policy.yaml knows no channel and nobody named "dutty" who can be told something; it knows: duty, hidden.'),
        ("ada", 'ada has no address in policy.yaml.\nAdd one there:  people: {ada: {notify: ["${ADA_NOTIFY}"]}}'),
        ("hidden", 'The address of "hidden" in policy.yaml is not complete: ${NOT_SET} is not set where the worker runs. Nobody was told.'),
    ],
)
def test_who_cannot_be_told_is_said_before_anything_is_sent(to: str, said: str) -> None:
    known = policy(duty="json://127.0.0.1:9/", hidden="${NOT_SET}")
    found = Policy(people={PersonId("ada"): Person(id=PersonId("ada"), name="Ada")}, channels=known.channels)
    with pytest.raises(PermanentError) as caught:
        message("duty", to).plan(context_in(found))
    assert str(caught.value) == said
