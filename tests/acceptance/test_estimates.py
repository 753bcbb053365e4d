"""Estimates through a whole gateway: what would be quoted and decided, and nothing that is done for it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import nano_usd
from tests.acceptance.test_decisions import LOCAL
from tests.gateways import Answer, Files, Gateway, ask, at_once, chat_body, configuration, happening
from tests.servers import PostgresServer

pytestmark = pytest.mark.xdist_group("estimates")

BUDGETS = {
    "plenty": "limit: 100.00, period: yearly",
    "day": "limit: 0.01, period: daily, match: {agent: poor}",
    "out": "counts: paid_out, limit: 500.00, period: daily, match: {tenant: acme}",
    "words": "counts: tokens, limit: 2000, period: daily, kind: soft, match: {agent: bot}",
    "each-run": "limit: 5.00, period: once, per: [run], match: {agent: bot}, max_instances: 100000",
}
RATES = {"slow": "limit: 1, every: 1h, match: {agent: slow}"}
MODELS = {
    "gpt-4o-mini": "connector: provider",
    "gpt-4.1": "connector: provider, hosted_tools: {web_search: {max_calls: 3}}",
    "gpt-4.1-mini": "connector: provider, max_output_tokens: 400",
    "gpt-5-mini": "connector: provider",
    "unknown": "connector: provider, upstream: nobody-prices-this",
    "claude-haiku-4-5": "connector: claude",
    "gemini-2.5-flash": "connector: google",
    "text-embedding-3-small": "connector: provider",
    "text-embedding-3-large": "connector: provider",
}
POLICIES = """
@id("all-may") permit(principal, action, resource);
@id("not-mini") @reason("mini is not good enough")
forbid(principal == Agent::"picky", action, resource == Model::"gpt-4o-mini");
@id("ask") @effect("require_approval") @reason("a person looks at payments above $100")
forbid(principal, action == Action::"desk.wire", resource)
when { context.args.amount.greaterThan(decimal("100.0")) };
@id("used-up") @reason("half of the day is gone")
forbid(principal == Agent::"thrifty", action, resource) when { context.budget.utilisation >= 50 };
@id("short") @effect("cap") @max_output_tokens("50")
forbid(principal == Agent::"terse", action, resource);
"""
AGENTS = ("bot", "poor", "picky", "slow", "thrifty", "terse")


def files(upstream: str) -> Files:
    """A tenant with tools, several models and budgets of several quantities."""
    budgets = {**BUDGETS, "half": "limit: 0.60, period: daily, match: {agent: thrifty}"}
    made = configuration(
        upstream, agents=AGENTS, budgets=budgets, rates=RATES, models=MODELS, policies=POLICIES
    )
    return {**made, "aegis.yaml": made["aegis.yaml"].replace("    models:\n", f"{LOCAL}    models:\n")}


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess(apps="provider") as upstream:
        yield upstream


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest, upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway, on each store."""
    if request.param == "sqlite":
        with Gateway(files(upstream.base_url)) as gateway:
            yield gateway
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    with Gateway(files(upstream.base_url), store=url) as gateway:
        yield gateway
    server.drop_database(url)


def estimate(gateway: Gateway, agent: str = "bot", **asked: Any) -> Any:
    """An estimate."""
    answer = ask(gateway, "POST", "/v1/estimates", asked, key=gateway.key(agent))
    assert 200 == answer.status, answer.json
    return answer.json


def chat(gateway: Gateway, agent: str, body: dict[str, Any]) -> Answer:
    """The call itself."""
    return ask(gateway, "POST", "/v1/chat/completions", body, key=gateway.key(agent))


def total(lines: list[dict[str, Any]]) -> int:
    """What lines come to."""
    return sum(nano_usd(line["usd"]) for line in lines)


@pytest.mark.parametrize(
    ("path", "api", "body"),
    [
        ("/v1/chat/completions", "chat", chat_body("hi [[tokens=5]]", max_tokens=50)),
        ("/v1/chat/completions", "chat", chat_body("hi [[tokens=5]]", model="gpt-4.1", n=2)),
        (
            "/v1/responses",
            "responses",
            {"model": "gpt-4.1", "input": "hi", "tools": [{"type": "web_search"}]},
        ),
        ("/v1/embeddings", "embeddings", {"model": "text-embedding-3-large", "input": ["hi", "you"]}),
        (
            "/v1/messages",
            "messages",
            {
                "model": "claude-haiku-4-5",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": "hi"}],
            },
        ),
    ],
)
def test_it_is_what_the_door_quotes(
    gateway: Gateway, upstream: UpstreamProcess, path: str, api: str, body: dict[str, Any]
) -> None:
    """Of the same bytes the same amounts, with the API named or not; and its lines add up to them."""
    asked = {"model": body["model"], "request": body}
    with happening(gateway, upstream) as happened:
        told = estimate(gateway, **asked)
        assert told == estimate(gateway, **asked, api=api)
    assert (0, 0) == (happened.arrived, happened.decided)
    row = gateway.call(ask(gateway, "POST", path, body, key=gateway.key()).headers["aegis-decision-id"])
    assert row["effect"] == told["effect"]
    assert row["expected_nano_usd"] == nano_usd(told["expected_usd"]) == total(told["expected_lines"])
    if row["maximum_nano_usd"] is None:
        assert "maximum_usd" not in told
        assert [] == told["maximum_lines"]
        assert "tools" in told["unbounded"]["usd"]
    else:
        assert row["maximum_nano_usd"] == nano_usd(told["maximum_usd"]) == total(told["maximum_lines"])


def test_a_gemini_request(gateway: Gateway) -> None:
    """Its API is told by the request, its model stands beside it."""
    body = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 9}}
    told = estimate(gateway, model="gemini-2.5-flash", request=body)
    assert ("chat", "google", 9) == (told["tool"], told["connector"], told["output_tokens"])


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-haiku-4-5", "gemini-2.5-flash"])
def test_a_prompt_alone(gateway: Gateway, model: str) -> None:
    """It becomes a request of the model's own API."""
    told = estimate(gateway, model=model, prompt="hello", max_output_tokens=77)
    assert (model, 77) == (told["model"], told["output_tokens"])
    assert 0 < nano_usd(told["expected_usd"]) <= nano_usd(told["maximum_usd"])
    embedded = estimate(gateway, model="text-embedding-3-small", prompt="hello")
    assert "embed" == embedded["tool"]


def test_a_tool(gateway: Gateway) -> None:
    """Its price by its arguments, what it counts, and the budget of that in its own words."""
    told = estimate(gateway, tool="desk.copy", arguments={"files": 3})
    assert ("0.003", "0.003") == (told["expected_usd"], told["maximum_usd"])
    assert [("units", 3, "file", "0.001", "0.003")] == [
        tuple(line.values()) for line in told["maximum_lines"]
    ]
    crawl = estimate(gateway, tool="desk.crawl", arguments={"pages": 2})
    assert "0.5" == crawl["maximum_usd"]
    wire = estimate(gateway, tool="desk.wire", arguments={"amount": 90.5})
    (out,) = [each for each in wire["budgets"] if each["budget"] == "out"]
    assert ("500", "500", "90.5", True) == (out["limit"], out["left"], out["needs"], out["fits"])


def test_what_policies_would_say(gateway: Gateway) -> None:
    """Refusals, and that a person would be asked; nobody is."""
    asked = estimate(gateway, tool="desk.wire", arguments={"amount": 200})
    assert "require_approval" == asked["effect"]
    assert "a person looks at payments above $100" in asked["reasons"][0]["message"]
    refused = estimate(gateway, "picky", model="gpt-4o-mini", prompt="hi")
    assert ("deny", "denied_by_policy") == (refused["effect"], refused["reasons"][0]["code"])
    assert "mini is not good enough" in refused["reasons"][0]["message"]
    assert "expected_usd" in refused


def test_a_cap(gateway: Gateway) -> None:
    """What a policy lowers is estimated as lowered, and its lines still add up."""
    told = estimate(gateway, "terse", model="gpt-4.1", prompt="hi", max_output_tokens=1000)
    assert 50 == told["output_tokens"]
    assert nano_usd(told["expected_usd"]) == total(told["expected_lines"])
    assert nano_usd(told["maximum_usd"]) == total(told["maximum_lines"])


def test_how_much_is_used_is_seen(gateway: Gateway) -> None:
    """A policy that looks at the budget sees it as it stands now."""
    tool = {"tool": "desk.rank", "arguments": {}}
    before = nano_usd(estimate(gateway, "thrifty", **tool)["budgets"][0]["left"])
    while estimate(gateway, "thrifty", **tool)["effect"] == "allow":
        answer = ask(gateway, "POST", "/v1/decisions", tool, key=gateway.key("thrifty"))
        assert "allow" == answer.json["effect"]
    (half,) = [each for each in estimate(gateway, "thrifty", **tool)["budgets"] if each["budget"] == "half"]
    assert Decimal("0.30") == Decimal(half["left"])
    assert before > 0
    assert "deny" == ask(gateway, "POST", "/v1/decisions", tool, key=gateway.key("thrifty")).json["effect"]


def test_what_budgets_have_left(gateway: Gateway) -> None:
    """What doesn't fit whole is lowered to what does; below the least it is refused, in the door's own words."""
    body = chat_body("hi [[tokens=5]]", max_tokens=2000, model="gpt-4.1")
    told = estimate(gateway, "poor", model="gpt-4.1", request=body)
    (day,) = [each for each in told["budgets"] if each["budget"] == "day"]
    assert ("allow", False) == (told["effect"], day["fits"])
    assert nano_usd(told["reserves_usd"]) <= nano_usd(day["left"]) < nano_usd(day["needs"])
    large = chat_body("x" * 20_000, max_tokens=20, model="gpt-4.1")
    refused = estimate(gateway, "poor", model="gpt-4.1", request=large)
    assert ("deny", "budget_exhausted") == (refused["effect"], refused["reasons"][0]["code"])
    real = chat(gateway, "poor", large)
    assert real.json["error"]["message"] == refused["reasons"][0]["message"]


def test_rates_are_not_used_up(gateway: Gateway) -> None:
    """Asked any number of times, an estimate takes no turn; once a call did, it says how long to wait."""
    tool = {"tool": "desk.rank", "arguments": {}}
    assert [True] * 5 == [estimate(gateway, "slow", **tool)["rates"][0]["fits"] for _ in range(5)]
    assert "allow" == ask(gateway, "POST", "/v1/decisions", tool, key=gateway.key("slow")).json["effect"]
    told = estimate(gateway, "slow", **tool)
    assert ("throttle", False) == (told["effect"], told["rates"][0]["fits"])
    assert 0 < told["reasons"][0]["retry_after_ms"] <= 3_600_000


def test_cheaper_models(gateway: Gateway) -> None:
    """Those that take the request and may be used, the cheapest first, with what is saved."""
    body = chat_body("hi", max_tokens=500, model="gpt-4.1")
    told = estimate(gateway, model="gpt-4.1", request=body)
    names = [each["model"] for each in told["cheaper"]]
    assert [
        "gpt-4o-mini",
        "gpt-5-mini",
    ] == names  # the others: too short answers, another API, no price, no chat
    for each in told["cheaper"]:
        saved = nano_usd(told["expected_usd"]) - nano_usd(each["expected_usd"])
        assert saved == nano_usd(each["saving_usd"])
        other = estimate(gateway, model=each["model"], prompt="hi")
        assert "allow" == other["effect"]
    picky = estimate(gateway, "picky", model="gpt-4.1", request=body)
    assert ["gpt-5-mini"] == [each["model"] for each in picky["cheaper"]]
    short = {**body, "max_tokens": 300}
    assert "gpt-4.1-mini" in [
        each["model"] for each in estimate(gateway, model="gpt-4.1", request=short)["cheaper"]
    ]
    image = [{"type": "image_url", "image_url": {"url": "https://images.example/x.png"}}]
    seen = {**body, "messages": [{"role": "user", "content": image}]}
    assert [] == estimate(gateway, model="gpt-4.1", request=seen)["cheaper"]
    embedded = estimate(gateway, model="text-embedding-3-large", prompt="hi")
    assert ["text-embedding-3-small"] == [each["model"] for each in embedded["cheaper"]]


def test_an_unknown_price_is_none(gateway: Gateway) -> None:
    """It is never $0: nothing is said of what it costs, but why nobody knows."""
    told = estimate(gateway, model="unknown", prompt="hi")
    assert ("deny", "unknown_price") == (told["effect"], told["reasons"][0]["code"])
    assert not {"expected_usd", "maximum_usd", "reserves_usd", "expected_lines"} & set(told)
    assert all(not each["fits"] for each in told["budgets"])


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({}, 400, "tool"),
        ({"tool": "desk.copy", "model": "gpt-4.1"}, 400, "tool"),
        ({"model": "gpt-4.1"}, 400, "request"),
        ({"model": "gpt-4.1", "prompt": "x", "request": {}}, 400, "request"),
        ({"model": "gpt-4.1", "request": []}, 400, "body"),
        ({"model": "gpt-4.1", "request": {"model": 5, "messages": []}}, 400, "messages"),
        ({"model": "gpt-4.1", "request": chat_body("x")}, 400, "model"),
        ({"model": "gpt-4.1", "prompt": "x", "api": "smoke"}, 400, "api"),
        ({"model": "gpt-4.1", "prompt": "x", "max_output_tokens": -1}, 400, "max_completion_tokens"),
        ({"tool": "desk.copy", "arguments": {"files": "x"}}, 400, "arguments.files"),
        ({"tool": "desk.copy", "arguments": {"files": 1}, "run": "run_made-up"}, 400, "aegis-run-id"),
        ({"tool": "desk.copy", "arguments": {"files": 1}, "customer": "nobody"}, 400, "aegis-customer"),
        ({"tool": "desk.copy", "argument": {}}, 400, "body"),
    ],
)
def test_what_is_no_question(gateway: Gateway, asked: dict[str, Any], status: int, field: str) -> None:
    """It is said what is wrong, and with which field."""
    before = gateway.count()
    answer = ask(gateway, "POST", "/v1/estimates", asked, key=gateway.key())
    assert (status, field) == (answer.status, answer.json["error"]["param"])
    assert before == gateway.count()


def test_who_asks(gateway: Gateway) -> None:
    """Nobody without a key, and nobody with one that is revoked."""
    asked = {"tool": "desk.rank"}
    assert 401 == ask(gateway, "POST", "/v1/estimates", asked, key=None).status
    issued = gateway.issue("bot")
    assert 200 == ask(gateway, "POST", "/v1/estimates", asked, key=issued.secret).status
    with gateway.administration() as administration:
        administration.revoke_key("acme", issued.key.id)
    assert 401 == ask(gateway, "POST", "/v1/estimates", asked, key=issued.secret).status


def test_a_batch(gateway: Gateway) -> None:
    """Each by itself: one that can't be understood takes nothing from the others."""
    asked = [
        {"tool": "desk.copy", "arguments": {"files": 1}},
        {"tool": "desk.copy", "arguments": {"files": "x"}},
        {"model": "gpt-4.1", "prompt": "hi"},
    ]
    answer = ask(gateway, "POST", "/v1/estimates/batch", {"estimates": asked}, key=gateway.key())
    first, second, third = answer.json["estimates"]
    assert ("0.001", 400, "gpt-4.1") == (first["expected_usd"], second["error"]["status"], third["model"])
    for many in (0, 101):
        body = {"estimates": asked[:1] * many}
        assert 400 == ask(gateway, "POST", "/v1/estimates/batch", body, key=gateway.key()).status


def test_many_at_once(gateway: Gateway) -> None:
    """They neither hold up each other for long nor anybody else, and write nothing."""
    before, key = gateway.count(), gateway.key()
    asked = {"model": "gpt-4.1", "request": chat_body("hi", model="gpt-4.1")}
    answers = at_once([(gateway, "POST", "/v1/estimates", asked, key) for _ in range(64)])
    assert [200] * 64 == [answer.status if answer else 0 for answer in answers]
    assert before == gateway.count()
