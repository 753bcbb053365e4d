"""Replays of real calls: shadow, replay and enforcing agree, to the call and the nano-dollar."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PERMIT_ALL, Files, Gateway, ask, chat_body, configuration

pytestmark = pytest.mark.xdist_group("replay")

PAY = "/connect/api/v1/payments"
CHAT = "/v1/chat/completions"
CEILING = """
@id("ceiling")
%s
forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("10.0")) };
"""
PLENTY = "limit: 1000000.00, period: yearly"
IN_SHADOW = "mode: shadow, "


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def traffic(gateway: Gateway) -> list[tuple[str, int]]:
    """The same calls each time, of two agents, to payments and a model: each call's id and status."""
    chance = random.Random(7)
    done = []
    for _ in range(60):
        key = gateway.key(chance.choice(("bot", "other")))
        if chance.random() < 0.6:
            amount = chance.choice((1, 9.99, 10, 10.01, 12.5, 20))
            body: dict[str, Any] = {"amount": amount, "currency": "USD", "beneficiary": "x"}
            answer = ask(gateway, "POST", PAY, body, key=key)
        else:
            body = chat_body("hi", max_tokens=chance.choice((16, 64, 256)))
            answer = ask(gateway, "POST", CHAT, body, key=key)
        done.append((answer.headers["aegis-decision-id"], answer.status))
    return done


def written(files: Files, directory: Path) -> Path:
    """A configuration as a directory."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def told(gateway: Gateway, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    result = CliRunner().invoke(build(), [*arguments, "--store", gateway.settings.store])
    assert code == result.exit_code, result.output
    return result.output


def replay(gateway: Gateway, *arguments: str) -> dict[str, Any]:
    """The replay of the one tenant, twice, byte for byte the same."""
    once, again = (told(gateway, "replay", *arguments, "--json") for _ in range(2))
    assert once == again
    (report,) = json.loads(once)["tenants"]
    return dict(report)


CASES: dict[str, tuple[str, dict[str, str], dict[str, str], str]] = {
    "policy": (PERMIT_ALL + CEILING, {"plenty": PLENTY}, {}, "ceiling"),
    "budget": (
        PERMIT_ALL,
        {"plenty": PLENTY, "small": "%slimit: 2.10, period: daily, match: {agent: bot}"},
        {},
        "budget:small",
    ),
    "budget of a model": (
        PERMIT_ALL,
        {
            "plenty": PLENTY,
            "few": "%scounts: tokens, kind: soft, limit: 250, period: weekly, match: {tenant: acme}, per: [agent]",
        },
        {},
        "budget:few",
    ),
    "rate": (
        PERMIT_ALL,
        {"plenty": PLENTY},
        {"few": "%slimit: 5, every: 1d, match: {agent: other}"},
        "rate:few",
    ),
}


def files(upstream: UpstreamProcess, case: str, *, in_shadow: bool) -> Files:
    """A case's configuration, its rule in shadow or enforced."""
    policies, budgets, rates, _ = CASES[case]

    def put(text: str, mode: str) -> str:
        return text % (mode if in_shadow else "") if "%s" in text else text

    def each(limits: Mapping[str, str]) -> dict[str, str]:
        return {name: put(text, IN_SHADOW) for name, text in limits.items()}

    return configuration(
        upstream.base_url,
        agents=("bot", "other"),
        policies=put(policies, '@mode("shadow")'),
        budgets=each(budgets),
        rates=each(rates) or None,
    )


@pytest.mark.parametrize("case", CASES)
def test_shadow_replay_and_enforcing_agree(upstream: UpstreamProcess, case: str, tmp_path: Path) -> None:
    """The same calls are named by shadow, by the replay of the enforced rule, and refused by it; at the same cost."""
    enforced = files(upstream, case, in_shadow=False)
    directory = str(written(enforced, tmp_path))
    with Gateway(files(upstream, case, in_shadow=True)) as gateway:
        tried = traffic(gateway)
        assert {200, 201} == {status for _, status in tried}
        shadow = json.loads(told(gateway, "shadow", "--json"))["findings"]
        found = {row["call"] for row in gateway.query("select call from shadow_finding")}
        report = replay(gateway, directory)
        unchanged = replay(gateway)
        costs = {row["call"]: row["cost_nano_usd"] for row in gateway.calls()}
    rule = CASES[case][3]
    assert {rule} == {change["rule"] for change in report["changes"]} == {each["rule"] for each in shadow}
    assert len(found) == report["new_denials"] == sum(each["calls"] for each in shadow) > 0
    money = sum(costs[call] for call in found)
    assert money == sum(change["nano_usd"] for change in report["changes"])
    assert money == sum(each["nano_usd"] for each in shadow) > 0
    assert {call for change in report["changes"] for call in change["examples"]} <= found
    assert ([], 0, []) == (
        unchanged["changes"],
        unchanged["undecided_calls"],
        unchanged["in_force"]["differs"],
    )
    assert 60 == report["calls"] == unchanged["calls"]
    with Gateway(enforced) as gateway:
        refused = [status not in (200, 201) for _, status in traffic(gateway)]
    assert [call in found for call, _ in tried] == refused
