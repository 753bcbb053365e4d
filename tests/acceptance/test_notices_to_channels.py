"""From a threshold that is passed to messages in Slack, Teams, a mailbox and a webhook's receiver, whatever fails.

A real gateway with its steward, against local servers that keep to the published shapes.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import signal
from collections.abc import Callable, Iterator

import apsw
import msgspec
import pytest
from standardwebhooks import Webhook

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, text_of
from tests.channels import FakeSlack, Mailbox, Receiver, Said, mail_server, receiver
from tests.gateways import PAYMENTS, Answer, Files, Gateway, ask, chat_body, configuration, until

pytestmark = pytest.mark.xdist_group("notices")

SLACK_TOKEN = "xoxb-of-the-tests"
HOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ASKS = """\
@id("all-may")
permit(principal, action, resource);
@id("people-agree")
@effect("require_approval")
@reason("payments need a person")
forbid(principal, action == Action::"api.pay", resource);
"""
MODELS = {
    "dear": "connector: provider, upstream: gpt-4.1, price: {input_per_million: 0, output_per_million: 1000}"
}
CHANNELS = """\
    channels:
      ops: {{kind: slack, token: env:SLACK, channel: C012AB3CD, api: {slack}/api, network: private}}
      fin: {{kind: teams, webhook: env:TEAMS, network: private}}
      mail:
        kind: email
        smtp: {smtp}
        from: aegis@acme.example
        to: [fin@acme.example, ana@acme.example]
        network: private
      hook: {{kind: webhook, url: {hook}/aegis, secret: env:HOOK, network: private}}
    notify:
      - {{what: [threshold_passed, approval_requested], to: [ops, fin, mail, hook, owner]}}
      - {{what: [threshold_passed], budgets: [home], to: [hook, fin]}}
"""
PLACES = {
    ("ops", ""),
    ("fin", ""),
    ("mail", "fin@acme.example"),
    ("mail", "ana@acme.example"),
    ("hook", ""),
}


class World(msgspec.Struct, kw_only=True):
    """A gateway, and the other sides of its four channels."""

    gateway: Gateway
    files: Files
    slack: FakeSlack
    slack_server: Receiver
    teams: Receiver
    mailbox: Mailbox
    hook: Receiver

    def call(self) -> Answer:
        """A call that costs a tenth of the budget."""
        body = chat_body("count [[tokens=100]]", model="dear", max_tokens=100)
        return ask(self.gateway, "POST", "/v1/chat/completions", body, key=self.gateway.key())

    def pass_threshold(self) -> None:
        """Spend half of the budget."""
        for _ in range(5):
            assert 200 == self.call().status
        assert [1] == [row["n"] for row in self.gateway.query("select count(*) as n from notice")]

    def became(self) -> dict[tuple[str, str], tuple[str, int, str]]:
        """What became of each delivery: by channel and recipient its state, tries and last error."""
        rows = self.gateway.query("select channel, recipient, state, tries, fault from delivery")
        return {
            (row["channel"], row["recipient"]): (row["state"], row["tries"], row["fault"]) for row in rows
        }

    def all_sent(self) -> bool:
        """Whether everybody was told."""
        became = self.became()
        return became.keys() == PLACES and {state for state, _, _ in became.values()} == {"sent"}

    def everywhere(self) -> list[int]:
        """How many messages have come to each other side."""
        return [len(self.slack.messages), len(self.teams.got), len(self.mailbox.mails), len(self.hook.got)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture
def world(upstream: UpstreamProcess) -> Iterator[World]:
    """All of them, anew for each test."""
    slack, mailbox = FakeSlack(SLACK_TOKEN), Mailbox()
    with contextlib.ExitStack() as stack:
        slack_server = stack.enter_context(receiver(slack))
        teams = stack.enter_context(receiver(lambda _got: Said(status=202)))
        hook = stack.enter_context(receiver(lambda _got: Said(status=204)))
        smtp = stack.enter_context(mail_server(mailbox))
        files = configuration(
            upstream.base_url,
            budgets={"home": "limit: 1.00, period: yearly, thresholds: [{at: 50%, do: [notify]}]"},
            models=MODELS,
            policies=ASKS,
            operations=PAYMENTS,
        )
        told = CHANNELS.format(slack=slack_server.url, smtp=smtp, hook=hook.url)
        files = {**files, "aegis.yaml": files["aegis.yaml"] + told}
        secrets = {"SLACK": SLACK_TOKEN, "TEAMS": f"{teams.url}/workflows/x?sig=canary", "HOOK": HOOK_SECRET}
        gateway = stack.enter_context(Gateway(files, environment=secrets))
        gateway.key()  # while nobody has an account
        yield World(
            gateway=gateway,
            files=files,
            slack=slack,
            slack_server=slack_server,
            teams=teams,
            mailbox=mailbox,
            hook=hook,
        )


def test_everybody_is_told_once(world: World) -> None:
    """Each place has one message, though two rules and the owner's address name it twice; no secret is in any."""
    world.pass_threshold()
    until(world.all_sent, "somebody was not told")
    title = "Budget home has passed"
    ((_, posted),) = world.slack.messages.items()
    assert title in posted["text"]
    (card,) = world.teams.got
    assert title in card.json["attachments"][0]["content"]["body"][0]["text"]
    assert [["ana@acme.example"], ["fin@acme.example"]] == sorted(world.mailbox.recipients)
    for mail in world.mailbox.mails:
        assert title in email.message_from_bytes(mail, policy=email.policy.default)["subject"]
    (got,) = world.hook.got
    told = Webhook(HOOK_SECRET).verify(got.body, got.headers)
    assert ("threshold_passed", "acme", "budget:home") == (
        told["type"],
        told["data"]["tenant"],
        told["data"]["details"]["subject"],
    )
    ids = {row["delivery"] for row in world.gateway.query("select delivery from delivery")}
    assert {card.headers["x-aegis-delivery"], got.headers["webhook-id"]} < ids
    said = json.dumps([posted, card.json, got.json]) + world.gateway.log() + repr(world.mailbox.mails)
    assert not any(secret in said for secret in (SLACK_TOKEN, "canary", HOOK_SECRET))


def test_other_sides_that_fail_get_it_later_under_the_same_id(world: World) -> None:
    """A fault, a connection that breaks off, too many requests, a mailbox that is busy: each is tried again."""
    world.hook.first += [Said(status=500), Said(hangs_up=True)]
    world.teams.first += [Said(status=429, headers={"retry-after": "2"})]
    world.slack.ratelimited_for_s = 1
    world.mailbox.refuses["fin@acme.example"] = "450 busy"
    world.pass_threshold()
    until(lambda: world.mailbox.asked >= 2 and "450" in world.became()["mail", "fin@acme.example"][2])
    world.mailbox.refuses.clear()
    until(world.all_sent, "somebody was not told in the end")
    assert [3, 2] == [len(world.hook.got), len(world.teams.got)]
    assert 1 == len({got.headers["webhook-id"] for got in world.hook.got})
    assert 1 == len({got.headers["x-aegis-delivery"] for got in world.teams.got})
    assert ["chat.postMessage"] * 2 == world.slack.calls
    waited = world.gateway.query("select sent_ns - made_ns as ns from delivery where channel = 'fin'")
    assert waited[0]["ns"] >= 2_000_000_000, "no sooner than it asks for"


def test_what_will_never_be_taken_is_a_dead_letter(world: World) -> None:
    """At once, with the reason; others have theirs. When the channel is mended, it is sent by a person's word."""
    world.hook.first.append(Said(status=410))
    world.slack_server.first.append(Said(body=b'{"ok": false, "error": "channel_not_found"}'))
    world.mailbox.refuses["fin@acme.example"] = "550 no such person"
    world.pass_threshold()
    until(lambda: len(world.became()) == 5 and not any("waiting" in each for each in world.became().values()))
    dead = {place: told[1:] for place, told in world.became().items() if told[0] == "dead"}
    assert {
        ("hook", ""): (1, "the other side answered 410"),
        ("ops", ""): (1, "Slack refused it: `channel_not_found`"),
        ("mail", "fin@acme.example"): (1, "the mail server answered 550: no such person"),
    } == dead
    world.mailbox.refuses.clear()
    staff = Staff(world.gateway)
    ana = Visitor(world.gateway)
    assert 303 == ana.sign_in(staff.tokens["ana"]).status
    assert 303 == ana.submit("/notifications", "/notifications").status
    until(world.all_sent, "what was given up was not sent again")
    assert world.hook.got[0].headers["webhook-id"] == world.hook.got[1].headers["webhook-id"]


def test_a_steward_killed_between_a_try_and_its_note(world: World) -> None:
    """The other side has it, nobody knows: it is sent again by the next one, under the same id."""
    world.hook.may_answer.clear()
    world.pass_threshold()
    until(lambda: len(world.hook.got) == 1)
    until(lambda: len([each for each in world.became().values() if each[0] == "sent"]) == 4)
    (steward,) = world.gateway.stewards()
    os.kill(steward, signal.SIGKILL)
    world.hook.may_answer.set()
    until(lambda: world.gateway.stewards() not in ([], [steward]), "there is no other steward")
    assert ("waiting", 0, "") == world.became()["hook", ""]
    a_minute_passes(world.gateway)
    until(world.all_sent, "it was not sent again")
    first, second = world.hook.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [1, 1, 2, 2] == world.everywhere()


def a_minute_passes(gateway: Gateway) -> None:
    """Whoever has taken a delivery has had it for long enough."""
    path = gateway.settings.store.removeprefix("sqlite:")
    with contextlib.closing(apsw.Connection(path)) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute("update delivery set lease_ns = 1 where lease_ns > 0")


def test_a_call_never_waits_for_a_channel(world: World) -> None:
    """While every channel hangs with a message in its hands, calls are answered, and notices are still written."""
    holds: tuple[Callable[[], None], ...] = (
        world.slack_server.may_answer.clear,
        world.teams.may_answer.clear,
        world.mailbox.may_answer.clear,
        world.hook.may_answer.clear,
    )
    for hold in holds:
        hold()
    world.pass_threshold()
    until(
        lambda: all((world.slack_server.got, world.teams.got, world.mailbox.asked, world.hook.got)),
        "not every channel hangs",
    )
    assert [200] * 2 == [world.call().status for _ in range(2)]
    assert 403 == pay(world, "10.00").status
    assert [2] == [row["n"] for row in world.gateway.query("select count(*) as n from notice")]
    told = [state for state, _, _ in world.became().values()]
    assert "sent" not in told, "nobody has answered meanwhile"
    assert {} == world.slack.messages
    for other in (world.slack_server, world.teams, world.mailbox, world.hook):
        other.may_answer.set()
    until(
        lambda: 10 == len(world.gateway.query("select 1 as n from delivery where state = 'sent'")),
        "somebody was not told in the end",
    )


def pay(world: World, amount: str) -> Answer:
    """A payment that people have to agree to."""
    body = {"amount": amount, "currency": "USD", "beneficiary": "Contoso"}
    return ask(world.gateway, "POST", "/connect/api/v1/payments", body, key=world.gateway.key())


def test_a_card_in_teams_leads_to_a_grant(world: World) -> None:
    """From the call that has to wait, by the card's link, to the payment; a stranger sees nothing of it."""
    staff = Staff(world.gateway)
    staff.add("ben", Grant(role="approver", tenant="acme"))
    refused = pay(world, "4820.00")
    assert (403, "approval_required") == (refused.status, refused.code)
    until(lambda: bool(world.teams.got))
    (action,) = world.teams.got[0].json["attachments"][0]["content"]["actions"]
    path = action["url"].removeprefix(world.gateway.url)
    stranger = Visitor(world.gateway)
    asked = text_of(stranger.get(path)) + text_of(stranger.get(stranger.get(path).headers["location"]))
    assert not any(words in asked for words in ("4820", "Contoso", "api.pay"))
    ben = Visitor(world.gateway)
    assert 303 == ben.sign_in(staff.tokens["ben"]).status
    page = ben.get(path).headers["location"]
    assert "4820" in text_of(ben.get(page))
    assert 303 == ben.submit(page, page, answer="grant", reason="as agreed").status
    assert 201 == pay(world, "4820.00").status
    assert 403 == pay(world, "4821.00").status
