"""Rules in shadow on real calls: they change nothing, and say to the call and the nano-dollar what they would."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PERMIT_ALL, Gateway, ask, assert_books_balance, chat_body, configuration

pytestmark = pytest.mark.xdist_group("shadow")

PAY = "/connect/api/v1/payments"
CHAT = "/v1/chat/completions"

CEILING = """
@id("ceiling")
%s
forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("10.0")) };
"""
ERRS = """
@id("errs")
@mode("shadow")
forbid(principal, action == Action::"chat", resource)
when { context.args.amount > 10 };
"""
OTHERS_TOO = """
@id("others-too")
@mode("shadow")
permit(principal == Agent::"other", action == Action::"chat", resource);
"""
BOT_ONLY = """
@id("bot")
permit(principal == Agent::"bot", action, resource);
@id("payers")
permit(principal, action == Action::"api.pay", resource);
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def pay_all(gateway: Gateway) -> list[tuple[float, int, str]]:
    """The same thirty payments each time: amount, status, and the call's id."""
    chance = random.Random(7)
    done = []
    for _ in range(30):
        amount = chance.choice((1, 9.99, 10, 10.01, 12.5, 20))
        answer = ask(
            gateway,
            "POST",
            PAY,
            {"amount": amount, "currency": "USD", "beneficiary": "x"},
            key=gateway.key(chance.choice(("bot", "other"))),
        )
        done.append((amount, answer.status, answer.headers["aegis-decision-id"]))
    return done


def told(gateway: Gateway, *arguments: str) -> str:
    """What a command prints."""
    result = CliRunner().invoke(build(), [*arguments, "--store", gateway.settings.store])
    assert 0 == result.exit_code, result.output
    return result.output


def test_shadow_says_what_enforcing_does(upstream: UpstreamProcess) -> None:
    """On the same traffic: the same calls, and what they had cost."""
    shadow = PERMIT_ALL + CEILING % '@mode("shadow")'
    with Gateway(configuration(upstream.base_url, agents=("bot", "other"), policies=shadow)) as gateway:
        tried = pay_all(gateway)
        assert {201} == {status for _, status, _ in tried}
        (found,) = json.loads(told(gateway, "shadow", "--json"))["findings"]
        words = told(gateway, "shadow")
        refused = [call for amount, _, call in tried if amount > 10]
        costs = {row["call"]: row["cost_nano_usd"] for row in gateway.calls()}
        assert ("ceiling", "deny", len(refused)) == (found["rule"], found["would"], found["calls"])
        assert found["nano_usd"] == sum(costs[call] for call in refused) > 0
        assert set(found["examples"]) <= set(refused)
        assert f"would have refused {len(refused)} calls" in words
        assert "ceiling would have refused this" in told(gateway, "call", refused[0])
        gateway.apply(
            configuration(upstream.base_url, agents=("bot", "other"), policies=PERMIT_ALL + CEILING % "")
        )
        enforced = pay_all(gateway)
        assert [amount > 10 for amount, _, _ in tried] == [status == 403 for _, status, _ in enforced]
        assert "not in shadow any more" in told(gateway, "shadow")
        assert len(refused) == json.loads(told(gateway, "shadow", "--json"))["findings"][0]["calls"]
        assert_books_balance(gateway)


def test_a_rule_in_shadow_that_errs(upstream: UpstreamProcess) -> None:
    """It refuses nobody, and its errors are counted and shown."""
    with Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + ERRS)) as gateway:
        assert 200 == ask(gateway, "POST", CHAT, chat_body("hi")).status
        (found,) = json.loads(told(gateway, "shadow", "--json"))["findings"]
        assert ("errs", "error", 1) == (found["rule"], found["would"], found["calls"])
        assert "could not be evaluated" in told(gateway, "shadow")


def test_a_permit_in_shadow(upstream: UpstreamProcess) -> None:
    """It lets nobody in, and says whom it would."""
    files = configuration(upstream.base_url, agents=("bot", "other"), policies=BOT_ONLY + OTHERS_TOO)
    with Gateway(files) as gateway:
        assert 200 == ask(gateway, "POST", CHAT, chat_body("hi")).status
        assert 403 == ask(gateway, "POST", CHAT, chat_body("hi"), key=gateway.key("other")).status
        (found,) = json.loads(told(gateway, "shadow", "--json"))["findings"]
        assert ("others-too", "allow", 1) == (found["rule"], found["would"], found["calls"])
        assert found["nano_usd"] > 0


def test_nothing_is_in_shadow(upstream: UpstreamProcess) -> None:
    """How to begin is said."""
    with Gateway(configuration(upstream.base_url)) as gateway:
        assert '@mode("shadow")' in told(gateway, "shadow")


def test_a_budget_in_shadow(upstream: UpstreamProcess) -> None:
    """It lets through what it would refuse; what is left on what acts is what answers tell."""
    day = {
        "day": "limit: 100.00, period: daily",
        "small": "limit: 1.10, period: daily, mode: shadow, match: {agent: bot}",
    }
    with Gateway(configuration(upstream.base_url, budgets=day)) as gateway:
        answers = [
            ask(gateway, "POST", PAY, {"amount": 1, "currency": "USD", "beneficiary": "x"}) for _ in range(6)
        ]
        assert {201} == {answer.status for answer in answers}  # at $0.25 each
        assert "98.5" == answers[-1].headers["aegis-budget-remaining-usd"].rstrip("0")
        (found,) = json.loads(told(gateway, "shadow", "--json"))["findings"]
        assert ("budget:small", "deny", 2) == (found["rule"], found["would"], found["calls"])
        assert (0, 1_000_000_000) == gateway.standing("small")
        assert "in shadow" in told(gateway, "budget", "small")
        gateway.apply(
            configuration(
                upstream.base_url, budgets={**day, "small": day["small"].replace("mode: shadow, ", "")}
            )
        )
        assert 402 == ask(gateway, "POST", PAY, {"amount": 1, "currency": "USD", "beneficiary": "x"}).status
        assert_books_balance(gateway)
