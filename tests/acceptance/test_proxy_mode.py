"""Proxy mode: a whole tenant in shadow, callers without a key among it; nothing is refused, everything is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import (
    PERMIT_ALL,
    Files,
    Gateway,
    ask,
    assert_books_balance,
    chat_body,
    configuration,
    happening,
)

pytestmark = pytest.mark.xdist_group("packs")

CHAT, PAY, SEARCH = "/v1/chat/completions", "/connect/api/v1/payments", "/connect/api/v1/search"
PAYMENT = {"amount": 1, "currency": "USD", "beneficiary": "x"}
MINE, THEIRS = "sk-of-the-canary-caller-7a7a", "sk-of-another-caller-9b9b"
POLICIES = """
@id("no-chat")
forbid(principal, action == Action::"chat", resource);
@id("errs")
forbid(principal, action == Action::"api.pay", resource) when { context.args.reference == "x" };
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API, with two customers of its own beside the gateway."""
    from aegis_gateway.demo.upstream.process import KEY

    with UpstreamProcess(keys=(KEY, MINE, THEIRS)) as upstream:
        yield upstream


def files(
    upstream: UpstreamProcess, proxy: str = "{unregistered: true, unlisted_models: [provider]}"
) -> Files:
    """A tenant with a policy that forbids, a budget that bears nothing, and a rate that lets one call through."""
    made = configuration(
        upstream.base_url,
        budgets={"tiny": "limit: 0.000001, period: daily, match: {tenant: acme}"},
        rates={"slow": "limit: 1, every: 1h"},
        policies=POLICIES,
    )
    if proxy:
        text = made["aegis.yaml"].replace("    timezone: UTC\n", f"    timezone: UTC\n    proxy: {proxy}\n")
        made = {**made, "aegis.yaml": text}
    return made


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway in proxy mode."""
    with Gateway(files(upstream)) as gateway:
        yield gateway


def told(gateway: Gateway, *arguments: str) -> Any:
    """What a command says, as JSON."""
    done = CliRunner().invoke(build(), [*arguments, "--json", "--store", gateway.settings.store])
    assert 0 == done.exit_code, done.output
    return json.loads(done.stdout)


def shadow(gateway: Gateway) -> dict[tuple[str, str], int]:
    """How often each rule would have acted."""
    return {(each["rule"], each["would"]): each["calls"] for each in told(gateway, "shadow")["findings"]}


def test_nothing_is_refused_and_everything_is_told(upstream: UpstreamProcess) -> None:
    """Policies, budgets, rates and the want of a permit change nothing, and say what they would have."""
    with Gateway(files(upstream)) as gateway:
        answers = [ask(gateway, "POST", CHAT, chat_body("hi [[tokens=1500]]")) for _ in range(2)]
        answers.append(ask(gateway, "POST", PAY, PAYMENT))
        assert [200, 200, 201] == [answer.status for answer in answers]
        # Nor is an output limit set that the caller didn't: the model's default would be 1,024 tokens.
        assert 1500 == answers[0].json["usage"]["completion_tokens"]
        assert {
            ("budget:tiny", "deny"): 3,
            ("errs", "error"): 1,
            ("no-chat", "deny"): 2,
            ("no_permit", "deny"): 3,
            ("rate:slow", "throttle"): 2,
        } == shadow(gateway)
        decisions = [entry for entry in gateway.entries() if entry["type"] == "decision"]
        assert {"proxied"} == {reason["code"] for entry in decisions for reason in entry["reasons"]}
        assert {"allow"} == {entry["effect"] for entry in decisions}
        assert_books_balance(gateway)


def test_callers_without_a_key(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """They pass with their own credential, are listed with what they spend, and are registered in one step."""
    client = openai.OpenAI(api_key=MINE, base_url=f"{gateway.url}/v1", max_retries=0)
    with happening(gateway, upstream) as happened:
        for _ in range(2):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=9
            )
        assert 201 == ask(gateway, "POST", PAY, PAYMENT, key=THEIRS).status
    assert happened.billed_nano_usd == happened.charged_nano_usd > 250_000_000
    found = {each["calls"]: each for each in told(gateway, "agent", "discovered")["discovered"]}
    assert {1, 2} == set(found)
    assert (["gpt-4o-mini"], ["api.pay"]) == (found[2]["used"], found[1]["used"])
    assert 250_000_000 == found[1]["nano_usd"]
    name = found[2]["caller"]
    assert name.startswith("unregistered/")

    who = ("agent", "add", "found-bot", "--discovered", name, "--owner", "ana@acme.example")
    add = (*who, "--team", "desk", "--cost-centre", "CC-1", "--purpose", "talks")
    registered = told(gateway, *add, "--environment", "production")
    assert "found-bot" == registered["agent"]
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    assert ("found-bot", "desk", "CC-1") == tuple(
        gateway.last_call()[column] for column in ("agent", "team", "cost_centre")
    )
    assert [1] == [each["calls"] for each in told(gateway, "agent", "discovered")["discovered"]]
    again = CliRunner().invoke(build(), [*add, "--environment", "test", "--store", gateway.settings.store])
    assert 0 != again.exit_code


def test_a_credential_is_nowhere(gateway: Gateway) -> None:
    """What callers bring is sent on and kept nowhere, not in the database and not in what the gateway says."""
    ask(gateway, "POST", CHAT, chat_body("hi"), key=MINE)
    written = [path for path in gateway.directory.rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert MINE.encode() not in path.read_bytes(), path


def test_who_is_not_taken(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A key of ours that is wrong is wrong; a credential the upstream doesn't know costs nothing; no key is none."""
    before = gateway.count()
    assert 401 == ask(gateway, "POST", CHAT, chat_body("hi"), key="aegis_live_mistyped").status
    assert 401 == ask(gateway, "POST", CHAT, chat_body("hi"), key=None).status
    assert before == gateway.count()
    refused = ask(gateway, "POST", CHAT, chat_body("hi"), key="sk-nobody-knows")
    assert 401 == refused.status
    assert ("settled", 0) == tuple(gateway.settled()[column] for column in ("state", "cost_nano_usd"))
    with Gateway(files(upstream, proxy="{unregistered: false}")) as closed:
        assert 401 == ask(closed, "POST", CHAT, chat_body("hi"), key=MINE).status
        assert 0 == closed.count()


def test_what_nobody_configured(gateway: Gateway) -> None:
    """Models go where they are said to, at the catalogue's price; what has none is recorded so, never as $0."""
    answer = ask(gateway, "POST", CHAT, chat_body("hi", model="gpt-4.1-nano", max_tokens=5))
    assert 200 == answer.status
    assert gateway.settled()["cost_nano_usd"] > 0
    searched = ask(gateway, "POST", SEARCH, {"query": "x", "limit": 1})
    assert 200 == searched.status
    row = gateway.settled()
    assert ("api.?", "in_doubt", None) == (row["tool"], row["state"], row["cost_nano_usd"])
    assert 404 == ask(gateway, "POST", "/connect/nothing/v1/x", {}).status


def test_plan_says_so(upstream: UpstreamProcess, tmp_path: Any) -> None:
    """Nobody puts a tenant into proxy mode without reading what that means; strangers are one tenant's."""
    for path, text in {**files(upstream), "policies/all.cedar": PERMIT_ALL}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    done = CliRunner().invoke(build(), ["plan", str(tmp_path), "--store", f"sqlite:{tmp_path / 'aegis.db'}"])
    assert 0 == done.exit_code, done.output
    assert (
        "everything passes and is recorded, and nothing is refused, not even callers without a key"
        in done.output
    )
