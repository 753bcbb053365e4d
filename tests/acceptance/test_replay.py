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


HIDDEN = """
@id("euros")
forbid(principal, action == Action::"api.pay", resource)
when {
  context.args.amount.greaterThan(decimal("10.0")) &&
  context.args has reference && context.args.reference == "salary"
};
@id("yens")
forbid(principal, action == Action::"api.pay", resource) when { context.args.currency == "JPY" };
"""


def test_what_the_record_cannot_tell_is_not_guessed(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """A text that isn't shown leaves undecided what would look at it, and only that; a shown one decides."""
    changed = configuration(upstream.base_url, policies=PERMIT_ALL + HIDDEN)
    with Gateway(configuration(upstream.base_url)) as gateway:
        calls = []
        for amount, currency in ((1, "USD"), (20, "EUR"), (20, "JPY"), (30, "USD")):
            body = {"amount": amount, "currency": currency, "beneficiary": "x", "reference": "salary"}
            calls.append(ask(gateway, "POST", PAY, body).headers["aegis-decision-id"])
        report = replay(gateway, str(written(changed, tmp_path)))
        (undecided,), (change,) = report["undecided"], report["changes"]
        assert ("euros", [calls[1], calls[3]]) == (undecided["policy"], undecided["examples"])
        assert [{"tool": "api.pay", "argument": "reference"}] == undecided["missing"]
        assert (2, "yens", [calls[2]]) == (report["undecided_calls"], change["rule"], change["examples"])
        words = told(gateway, "replay", str(tmp_path))
        assert "add `shown: true` to `reference` of api.pay" in words
        assert "1 call of 1 agent, $0.25, would now be refused" in words


def test_plan_replays(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """`aegis plan` says what the change would have done, and exits as a pipeline wants it."""
    changed = configuration(upstream.base_url, policies=PERMIT_ALL + CEILING % "")
    with Gateway(configuration(upstream.base_url)) as gateway:
        directory = str(written(changed, tmp_path))
        assert (
            [] == json.loads(told(gateway, "plan", directory, "--json"))["replay"]
        )  # nothing was called yet
        for amount in (1, 20, 30):
            ask(gateway, "POST", PAY, {"amount": amount, "currency": "USD", "beneficiary": "x"})
        assert "2 calls of 1 agent, $0.50, would now be refused" in told(gateway, "plan", directory)
        assert "would now be" not in told(gateway, "plan", directory, "--no-replay")
        for command in ("plan", "replay"):
            assert "2 calls would newly be" in told(
                gateway, command, directory, "--fail-on-new-denials", code=3
            )
            assert "at most 1 may be" in told(gateway, command, directory, "--max-new-denials", "1", code=3)
            told(gateway, command, directory, "--max-new-denials", "2")
        (report,) = json.loads(told(gateway, "plan", directory, "--json"))["replay"]
        assert 2 == report["new_denials"]
        assert [] == json.loads(told(gateway, "plan", directory, "--json", "--since", "2099-01-01"))["replay"]
        gateway.apply(changed)
        assert [] == json.loads(told(gateway, "plan", directory, "--json"))["replay"]
        report = replay(gateway)
        assert ([], 2) == (report["changes"], report["in_force"]["decided_under_other_versions"])


def test_what_is_allowed_lowered_and_sent_elsewhere(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """A permit lets calls in, and a downgrade is priced as the other model."""
    only_bot = '@id("bot") permit(principal == Agent::"bot", action, resource);\n'
    cheap = (
        PERMIT_ALL + '@id("cheap") @effect("downgrade") @model("gpt-4o-mini")\n'
        'forbid(principal, action == Action::"chat", resource == Model::"gpt-4.1");\n'
    )
    with Gateway(configuration(upstream.base_url, agents=("bot", "other"), policies=only_bot)) as gateway:
        asked = [
            ask(gateway, "POST", CHAT, chat_body("hi", model="gpt-4.1"), key=gateway.key(agent))
            for agent in ("bot", "other", "other")
        ]
        assert [200, 403, 403] == [answer.status for answer in asked]
        changed = configuration(upstream.base_url, agents=("bot", "other"), policies=cheap)
        report = replay(gateway, str(written(changed, tmp_path)))
        found = {(each["kind"], each["agent"]): each for each in report["changes"]}
        assert {("allowed", "other"), ("model", "bot")} == set(found)
        allowed, lowered = found["allowed", "other"], found["model", "bot"]
        assert (2, "no_permit") == (allowed["calls"], allowed["was_code"])
        gateway.apply(changed)
        before = gateway.calls()[0]["expected_nano_usd"]
        assert 200 == ask(gateway, "POST", CHAT, chat_body("hi", model="gpt-4.1")).status
        now = gateway.last_call()["expected_nano_usd"]
        assert (before - now, 2 * now) == (lowered["nano_usd"], allowed["nano_usd"])


def test_what_was_not_in_shadow_long_enough_is_refused(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """Where a tenant demands it: by plan and apply, until it was in shadow as it is; an emergency goes before."""

    def made(period: str, policies: str) -> Files:
        plain = configuration(upstream.base_url, policies=PERMIT_ALL + policies)
        document = plain["aegis.yaml"].replace(
            "  acme:\n", f"  acme:\n    changes: {{shadow_for: {period}}}\n"
        )
        return {**plain, "aegis.yaml": document}

    with Gateway(made("7d", ""), start=False) as gateway:
        directory = str(written(made("7d", CEILING % ""), tmp_path))
        assert "it wasn't" in told(gateway, "plan", directory, code=3)
        assert "policy ceiling would act" in told(gateway, "apply", directory, "--yes", code=3)
        written(made("7d", CEILING % '@mode("shadow")'), tmp_path)
        told(gateway, "apply", directory, "--yes")
        written(made("7d", CEILING % ""), tmp_path)
        output = told(gateway, "plan", directory, "--json", code=3)
        (early,) = json.loads(output[output.index("{") :])["untried"]
        assert "policy ceiling" == early["rule"]
        assert f"it is since {early['in_shadow_since']}" in output
        written(made("1ms", CEILING % '@mode("shadow")'), tmp_path)
        told(gateway, "apply", directory, "--yes")
        written(made("1ms", (CEILING % "").replace("10.0", "9.0")), tmp_path)
        told(gateway, "apply", directory, "--yes", code=3)  # it is another one
        written(made("1ms", CEILING % ""), tmp_path)
        told(gateway, "apply", directory, "--yes")
        written(made("1ms", CEILING % "" + EUROS), tmp_path)
        told(gateway, "apply", directory, "--yes", code=3)
        told(gateway, "apply", directory, "--yes", "--emergency", "--note", "euros leak")


EUROS = """
@id("euros") forbid(principal, action == Action::"api.pay", resource) when { context.args.currency == "EUR" };
"""
