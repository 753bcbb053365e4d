"""What budgets do before they are empty, and then: a real gateway, called with OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PEPPER, Gateway, ask, assert_books_balance, chat_body, configuration, until

pytestmark = pytest.mark.xdist_group("thresholds")

MODELS = {
    "dear": "connector: provider, upstream: gpt-4.1, price: {input_per_million: 0, output_per_million: 1000}",
    "cheap": "connector: provider, upstream: gpt-4o-mini, price: {input_per_million: 0, output_per_million: 100}",
}
STEPS = """thresholds: [
        {at: 50%, do: [notify]}, {at: 80%, do: [notify, downgrade: cheap]}, {at: 90%, do: [require_approval]}],
        on_exhaustion: {do: [notify, incident, revoke_keys]}"""
BUDGETS = {
    "steps": f"limit: 1.00, period: daily, {STEPS}",
    "dry": f"limit: 1.00, period: daily, {STEPS.replace('[require_approval]', '[notify]')}",
    "blocked": "limit: 1.00, period: daily, thresholds: [{at: 50%, do: [block]}]",
    "slow": "limit: 1.00, period: daily, thresholds: [{at: 10%, do: [throttle: {limit: 1, every: 1h}]}]",
    "quiet": "limit: 1.00, period: daily, mode: shadow, match: {agent: shady}, thresholds: [{at: 10%, do: [block]}]",
    "plenty": "limit: 100.00, period: daily",
}
AGENTS = {"bot": "steps", "dry": "dry", "stopped": "blocked", "slow": "slow", "shady": "plenty"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway before the bundled provider."""
    with UpstreamProcess(apps="provider") as upstream:
        files = configuration(
            upstream.base_url, agents=AGENTS, agent_budgets=AGENTS, budgets=BUDGETS, models=MODELS
        )
        with Gateway(files) as gateway:
            yield gateway


def client(gateway: Gateway, agent: str) -> openai.OpenAI:
    """OpenAI's client, with an agent's key."""
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(agent), max_retries=0)


def chat(asking: openai.OpenAI, tokens: int = 100) -> str:
    """One call that is answered with so many tokens; the model that answered."""
    answer = asking.chat.completions.create(
        model="dear",
        max_tokens=tokens,
        messages=[{"role": "user", "content": f"count [[tokens={tokens}]]"}],
    )
    return answer.model


def turned(gateway: Gateway, budget: str) -> list[tuple[str, str]]:
    """What has turned of a budget's thresholds, by the record."""
    bodies = [entry for entry in gateway.entries() if entry["type"] == "threshold"]
    return [(each["threshold"], each["act"]) for each in bodies if each["budget"] == budget]


def test_from_a_notice_to_a_downgrade_to_a_question(gateway: Gateway) -> None:
    """At half people hear of it, from 80% on the cheaper model answers, from 90% on somebody has to agree."""
    with client(gateway, "bot") as asking:
        dear = [chat(asking) for _ in range(8)]
        assert [("50", "passed"), ("80", "passed")] == turned(gateway, "steps")
        cheap = [chat(asking) for _ in range(10)]
        assert ({"gpt-4.1"}, {"gpt-4o-mini"}) == ({each[:7] for each in dear}, {each[:11] for each in cheap})
        assert ("90", "passed") == turned(gateway, "steps")[-1]
        with pytest.raises(openai.APIStatusError, match=r"budget `steps` is past 90% of its limit"):
            chat(asking)
    call = gateway.last_call()
    assert ("require_approval", "approval_required") == (call["effect"], call["reason_code"])
    kinds = [row["kind"] for row in gateway.query("select kind from notice where subject = 'budget:steps'")]
    assert ["threshold_passed"] * 3 == kinds
    assert_books_balance(gateway)


def test_a_block_refuses_with_402_and_says_whose_budget_it_is(gateway: Gateway) -> None:
    """The call is refused by the threshold, in the API's own error body, before anything is reserved."""
    with client(gateway, "stopped") as asking:
        for _ in range(5):
            chat(asking)
        with pytest.raises(openai.APIStatusError, match="ask its owner") as refused:
            chat(asking)
    assert (402, "budget_measure") == (refused.value.status_code, refused.value.code)
    asked = {"api": "chat", "request": chat_body("count [[tokens=100]]", model="dear", max_tokens=100)}
    told = ask(gateway, "POST", "/v1/estimates", asked, key=gateway.key("stopped")).json
    assert ("deny", "budget_measure") == (told["effect"], told["reasons"][0]["code"]), "estimates know it too"


def test_a_throttle_holds_for_all_calls_on_the_balance(gateway: Gateway) -> None:
    """After the threshold one call in an hour is let through."""
    bodies = chat_body("count [[tokens=100]]", model="dear", max_tokens=100)
    answers = [
        ask(gateway, "POST", "/v1/chat/completions", bodies, key=gateway.key("slow")) for _ in range(3)
    ]
    assert [200, 200, 429] == [answer.status for answer in answers]
    assert "threshold `budget:slow@10`" in answers[2].json["error"]["message"]


def test_a_budget_in_shadow_only_tells(gateway: Gateway) -> None:
    """What it would have blocked passes, and is noted as what it would have done."""
    with client(gateway, "shady") as asking:
        for _ in range(3):
            chat(asking)
    rows: list[dict[str, Any]] = gateway.query("select rule, would from shadow_finding order by decided_ns")
    assert [{"rule": "budget:quiet@10", "would": "deny"}] * 2 == rows


def test_exhaustion_holds_the_keys_of_all_whose_calls_count_on_it(gateway: Gateway) -> None:
    """From the last cent on the agent's key is refused with words of its own, and it isn't revoked."""
    with client(gateway, "dry") as asking:
        for _ in range(8 + 20):
            chat(asking)
    key = gateway.issue("dry").secret
    body = chat_body("hi", model="cheap")
    until(lambda: ask(gateway, "POST", "/v1/chat/completions", body, key=key).status == 401)
    told = ask(gateway, "POST", "/v1/chat/completions", body, key=key).json["error"]["message"]
    assert "is held by `budget:dry@exhausted` until its next window; ask the budget's owner" in told
    assert [] == gateway.query("select key from api_key where revoked_ns is not null")
    assert 2 == len(gateway.query("select kind from notice where kind = 'key_held'"))
    told = CliRunner().invoke(build(), ["incidents", "--json", "--store", gateway.settings.store])
    assert ["budget:dry@exhausted"] == [each["subject"] for each in json.loads(told.output)["incidents"]]
    shown = CliRunner().invoke(build(), ["incidents", "--store", gateway.settings.store])
    assert "budget exhausted" in shown.output
    (found,) = json.loads(told.output)["incidents"]
    env = {
        "AEGIS_PEPPER": gateway.settings.pepper,
        "AEGIS_SIGNING_KEY": gateway.settings.signing_key,
        "AEGIS_TEST_PEPPER": PEPPER,
    }
    close = [
        "incidents",
        "close",
        found["id"],
        "--reason",
        "it was a batch",
        "--store",
        gateway.settings.store,
    ]
    closed = CliRunner().invoke(build(), close, env=env)
    assert (0, True) == (closed.exit_code, "is closed" in closed.output), closed.output
    shown = CliRunner().invoke(build(), ["incidents", "--store", gateway.settings.store])
    assert "no open incidents" in shown.output
