"""A payment above the ceiling is agreed to in Slack, end to end; the bank's own record says what was paid."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from typer.testing import CliRunner

from aegis_gateway import bootstrap
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.operators import Caller
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.entrypoints.cli.main import build
from tests.acceptance.test_packs import pack
from tests.browsers import Staff
from tests.channels import FakeSlack, buttons, receiver
from tests.gateways import PEPPER, Answer, Files, Gateway, ask, assert_books_balance, until
from tests.slack import ENVIRONMENT, PLACE, TOKEN, Workspace, channel

pytestmark = pytest.mark.xdist_group("packs")

PAY = "/connect/payments/v1/payments"
NANO = 1_000_000_000
USERS = {"U0CFO": "cfo", "U0TREASURER": "treasurer"}
CFO, TREASURER = USERS


class Bank(msgspec.Struct, kw_only=True):
    """A gateway in front of a bank that keeps a record of its own, and the people who approve, in Slack."""

    gateway: Gateway
    upstream: UpstreamProcess
    workspace: Workspace
    staff: Staff
    files: Files

    def pay(self, amount: str) -> Answer:
        """One payment of the agent that may pay."""
        body = {"amount": amount, "currency": "USD", "beneficiary": "x"}
        return ask(self.gateway, "POST", PAY, body, key=self.gateway.key("invoice-bot"))

    def asks(self, amount: str) -> str:
        """A payment that waits for a person; its request."""
        answer = self.pay(amount)
        assert (403, "approval_required") == (answer.status, answer.code)
        return str(answer.json["error"]["approval"]["id"])

    def paid(self) -> list[int]:
        """What the bank has paid out, payment by payment, in nano-USD."""
        return [charge["paid_out_nano_usd"] for charge in self.upstream.charges()]

    def message(self, approval: str) -> str:
        """The message that leads to a request, as text."""
        found = [
            json.dumps(message["blocks"], ensure_ascii=False)
            for message in list(self.workspace.slack.messages.values())
            if f"/{approval}" in json.dumps(message)
        ]
        assert 1 == len(found)
        return found[0]

    def apply(self, files: Files) -> None:
        """Put a configuration in force, in ana's name."""
        with contextlib.closing(bootstrap.store(self.gateway.settings)) as store:
            newest = store.state().config
            assert newest is not None
            administration = Administration(
                store,
                PEPPER.encode(),
                bootstrap.signatures(self.gateway.settings),
                os.urandom,
                Caller(local_name="test", token=self.staff.tokens["ana"]),
            )
            administration.apply(files, ["acme"], appraisal=Appraisal(based_on=newest.version))


@pytest.fixture(scope="module")
def bank() -> Iterator[Bank]:
    """The bundled pack for payments, with a channel in a Slack."""
    fake = FakeSlack(TOKEN)
    with receiver(fake) as slack, UpstreamProcess() as upstream:
        made = pack("fintech", upstream.base_url)
        text = (
            made["aegis.yaml"]
            .replace("limit: 25000.00", "limit: 250000.00")
            .replace("limit: 5,", "limit: 500,")
        )
        alone = "    approvals: {group_after: 100}\n"  # a message for each
        files = {**made, "aegis.yaml": text + channel(slack.url, USERS) + alone}
        with Gateway(files, environment=ENVIRONMENT) as gateway:
            gateway.key("invoice-bot")
            staff = Staff(gateway)
            for person in USERS.values():
                staff.add(person, Grant(role="approver", tenant="acme"))
            workspace = Workspace(fake, gateway)
            yield Bank(gateway=gateway, upstream=upstream, workspace=workspace, staff=staff, files=files)


def aegis(bank: Bank, *arguments: str) -> str:
    """What a command on the gateway's store prints."""
    settings = bank.gateway.settings
    environment = {"AEGIS_PEPPER": settings.pepper, "AEGIS_TEST_PEPPER": PEPPER, "COLUMNS": "180"}
    done = CliRunner(env=environment).invoke(build(), [*arguments, "--store", settings.store])
    assert 0 == done.exit_code, done.output
    return done.stdout


def test_a_payment_is_agreed_to_in_slack(bank: Bank) -> None:
    """$5,000.00 passes, $5,000.01 asks; a person grants it there, exactly it goes through, once; then it asks again."""
    bank.upstream.reset()
    assert 201 == bank.pay("5000.00").status
    asked = bank.asks("5000.01")
    assert [5_000 * NANO] == bank.paid()
    (place, _), message = bank.workspace.message(asked)
    assert PLACE == place
    for words in (
        "Approval wanted: payments.create-payment",
        "invoice-bot",
        "5000.01",
        "payments above $5,000",
    ):
        assert words in json.dumps(message["blocks"]), words

    assert 200 == bank.workspace.press(asked, "aegis_approve", TREASURER).status
    assert "stands behind the request" in bank.workspace.whisper(TREASURER)
    assert asked == bank.asks("5000.01")
    assert 200 == bank.workspace.press(asked, "aegis_approve", CFO).status
    other = bank.asks("5000.02")
    assert asked != other
    assert [5_000 * NANO] == bank.paid()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(bank.pay, ["5000.01"] * 8))
    assert [201] + [403] * 7 == sorted(answer.status for answer in answers)
    assert [5_000 * NANO, 5_000_010_000_000] == bank.paid()
    again = bank.asks("5000.01")
    assert again not in (asked, other)
    assert [5_000 * NANO, 5_000_010_000_000] == bank.paid()

    until(lambda: "cfo approved in Slack" in bank.message(asked), "the message doesn't say what was decided")
    assert "aegis_approve" not in bank.message(asked)
    assert "aegis_approve" in buttons(bank.workspace.message(again)[1])
    entries = [json.loads(line) for line in aegis(bank, "entries").splitlines()]
    assert [
        ("not_taken", "treasurer", "slack"),
        ("grant", "cfo", "slack"),
    ] == [
        (entry["act"], entry["actor"], entry["via"])
        for entry in entries
        if entry.get("approval") == asked and "via" in entry
    ]
    assert "cfo: grant (slack)" in aegis(bank, "approvals", "show", asked)
    assert_books_balance(bank.gateway)


def test_another_policy_asks_again(bank: Bank) -> None:
    """What was granted in Slack was granted under the policies that were shown, and under no others."""
    bank.upstream.reset()
    asked = bank.asks("6000.00")
    assert 200 == bank.workspace.press(asked, "aegis_approve", CFO).status
    path = "policies/payments.cedar"
    stricter = bank.files[path].replace('decimal("5000.0")', 'decimal("4000.0")')
    bank.apply({**bank.files, path: stricter})
    until(lambda: bank.pay("4500.00").status == 403, "the version is not in force")
    assert asked != bank.asks("6000.00")
    assert [] == bank.paid()
    bank.apply(bank.files)
    until(lambda: bank.pay("4400.00").status == 201, "the version is not in force")


def test_a_no_in_slack(bank: Bank) -> None:
    """The agent is told it, with the reason, and nothing is paid."""
    bank.upstream.reset()
    asked = bank.asks("7000.00")
    assert 200 == bank.workspace.submit(bank.workspace.form(asked, CFO), "not this vendor", CFO).status
    refused = bank.pay("7000.00")
    assert ("approval_refused", "not this vendor") == (
        refused.code,
        refused.json["error"]["approval"]["reason"],
    )
    assert [] == bank.paid()
    until(lambda: "cfo refused in Slack: not this vendor" in bank.message(asked))


def test_what_slack_was_told_is_kept(bank: Bank) -> None:
    """Killed at once after Slack was answered, the gateway knows the grant, uses it once, and changes the message."""
    bank.upstream.reset()
    asked = bank.asks("8000.00")
    pressed = bank.workspace.pressed(asked, "aegis_approve", CFO)
    noted = "select 1 as n from delivery where subject = ? and state = 'sent'"
    until(
        lambda: bool(bank.gateway.query(noted, f"approval:{asked}")), "nobody noted that the message is there"
    )
    assert 200 == bank.workspace.send(pressed).status
    bank.gateway.kill_all()
    bank.gateway.start()
    assert 409 == bank.workspace.send(pressed).status
    assert 201 == bank.pay("8000.00").status
    assert 403 == bank.pay("8000.00").status
    assert [8_000 * NANO] == bank.paid()
    until(lambda: "cfo approved in Slack" in bank.message(asked), "the message was not changed")
