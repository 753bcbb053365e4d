"""Policies that throttle, that have a person asked, and that cap what a call costs, on real calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PERMIT_ALL, Gateway, ask, assert_books_balance, chat_body, configuration

pytestmark = pytest.mark.xdist_group("shadow")

PAY, CHAT = "/connect/api/v1/payments", "/v1/chat/completions"

THROTTLE = """
@id("slow")
@effect("throttle")
@limit("3")
@every("1h")
%s
forbid(principal, action == Action::"api.pay", resource);
"""
ASK = """
@id("four-eyes")
@effect("require_approval")
@reason("payments above $10 need a person")
%s
forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("10.0")) };
"""
CAP = """
@id("cheap")
@effect("cap")
@max_cost_usd("%s")
%s
forbid(principal, action, resource);
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def pay(gateway: Gateway, amount: object, agent: str = "bot") -> Any:
    """One payment."""
    body = {"amount": amount, "currency": "USD", "beneficiary": "x"}
    return ask(gateway, "POST", PAY, body, key=gateway.key(agent))


def shadow(gateway: Gateway) -> list[dict[str, Any]]:
    """What rules in shadow would have done."""
    told = CliRunner().invoke(build(), ["shadow", "--json", "--store", gateway.settings.store])
    found: list[dict[str, Any]] = json.loads(told.stdout)["findings"]
    return found


def last_decision(gateway: Gateway) -> dict[str, Any]:
    """The newest decision of the record."""
    return [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]


@pytest.mark.parametrize(("per", "others"), [("", 201), ('@per("tenant")', 429)])
def test_a_throttle(upstream: UpstreamProcess, per: str, others: int) -> None:
    """So many calls of each agent, or of what it says; then 429 with the time to wait, and nothing is charged."""
    policies = PERMIT_ALL + THROTTLE % per
    with Gateway(configuration(upstream.base_url, agents=("bot", "other"), policies=policies)) as gateway:
        assert [201, 201, 201, 429] == [pay(gateway, 1).status for _ in range(4)]
        refused = pay(gateway, 1)
        assert "rate_limited" == refused.code
        assert "policy `slow` allows 3 calls in 3600 s" in refused.json["error"]["message"]
        decision = last_decision(gateway)
        assert ("throttle", "slow") == (decision["effect"], decision["reasons"][0]["subject"])
        assert others == pay(gateway, 1, "other").status
        assert 200 == ask(gateway, "POST", CHAT, chat_body("hi")).status
        assert_books_balance(gateway)


def test_a_throttle_in_shadow(upstream: UpstreamProcess) -> None:
    """It lets everything through, and says which calls would have come too fast."""
    policies = PERMIT_ALL + THROTTLE % '@mode("shadow")'
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        done = [pay(gateway, 1) for _ in range(5)]
        assert [201] * 5 == [each.status for each in done]
        (found,) = shadow(gateway)
        assert ("slow", "throttle", 2) == (found["rule"], found["would"], found["calls"])
        assert {each.headers["aegis-decision-id"] for each in done[3:]} == set(found["examples"])


def test_a_person_is_asked(upstream: UpstreamProcess) -> None:
    """403 `approval_required` in the policy's words; recorded as such, holding and sending nothing."""
    with Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + ASK % "")) as gateway:
        assert 201 == pay(gateway, 10).status
        charged = gateway.charged()
        asked = pay(gateway, "10.01")
        assert (403, "approval_required", "require_approval") == (
            asked.status,
            asked.code,
            asked.headers["aegis-effect"],
        )
        assert "payments above $10 need a person" in asked.json["error"]["message"]
        decision = last_decision(gateway)
        assert ("require_approval", ["four-eyes"], []) == (
            decision["effect"],
            [reason["subject"] for reason in decision["reasons"]],
            decision["legs"],
        )
        assert charged == gateway.charged()
        listed = CliRunner().invoke(
            build(), ["calls", "--effect", "require_approval", "--json", "--store", gateway.settings.store]
        )
        (row,) = json.loads(listed.stdout)["calls"]
        assert asked.headers["aegis-decision-id"] == row["call"]
        assert_books_balance(gateway)


def test_nobody_is_asked_about_what_is_refused_anyway(upstream: UpstreamProcess) -> None:
    """A call that no budget bears is refused for that, whoever would agree to it."""
    policies = PERMIT_ALL + ASK % ""
    budgets = {"day": "limit: 0.30, period: daily"}  # one payment costs $0.25
    with Gateway(configuration(upstream.base_url, budgets=budgets, policies=policies)) as gateway:
        assert "approval_required" == pay(gateway, 11).code
        assert 201 == pay(gateway, 1).status
        assert "budget_exhausted" == pay(gateway, 11).code


def test_asking_in_shadow(upstream: UpstreamProcess) -> None:
    """It asks nobody, and says about which calls it would have."""
    policies = PERMIT_ALL + ASK % '@mode("shadow")'
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        done = [pay(gateway, amount) for amount in (1, 11, 12)]
        assert [201] * 3 == [each.status for each in done]
        (found,) = shadow(gateway)
        assert ("four-eyes", "require_approval", 2) == (found["rule"], found["would"], found["calls"])


def test_a_cap_on_what_a_call_costs(upstream: UpstreamProcess) -> None:
    """The output limit is lowered until the maximum fits; what can't be lowered so far is refused."""
    with Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + CAP % ("0.0001", ""))) as gateway:
        answer = ask(gateway, "POST", CHAT, chat_body("hi [[tokens=900]]"))
        assert 200 == answer.status
        decision = last_decision(gateway)
        assert 100_000 >= int(decision["quote"]["maximum"]["usd"]) > 90_000
        assert decision["output_tokens"] == answer.json["usage"]["completion_tokens"]
        refused = pay(gateway, 1)
        assert (403, "obligation_unfulfilled") == (refused.status, refused.code)
        assert (
            "a policy caps the cost at $0.0001, and the call may cost $0.25"
            in refused.json["error"]["message"]
        )
        assert_books_balance(gateway)


def test_a_cap_on_cost_in_shadow(upstream: UpstreamProcess) -> None:
    """It is told of for calls that it would have lowered or refused, and only those."""
    policies = PERMIT_ALL + CAP % ("0.0001", '@mode("shadow")')
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        ask(gateway, "POST", CHAT, chat_body("hi", max_tokens=5))
        ask(gateway, "POST", CHAT, chat_body("hi [[tokens=9]]", max_tokens=900))
        pay(gateway, 1)
        (found,) = shadow(gateway)
        assert ("cheap", "cap", 2) == (found["rule"], found["would"], found["calls"])
