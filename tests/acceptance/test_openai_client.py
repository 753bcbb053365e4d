"""The official `openai` client in front of a gateway: only its base URL and key are changed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import usd_decimal_text
from tests.gateways import Gateway, assert_books_balance, configuration, happening, until

pytestmark = pytest.mark.xdist_group("openai-client")

POLICIES = """
@id("all-may") @reason("everybody may") permit(principal, action, resource);
@id("not-on-sundays") @reason("this agent rests on Sundays") forbid(principal == Agent::"banned", action, resource);
@id("no-tools") forbid(principal, action == Action::"chat", resource) when { context.args.tools > 3 };
"""
TIGHT_NANO_USD = 1_000_000
CENT_NANO_USD = 10_000_000


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway with agents that are rich, poor, banned and paced."""
    files = configuration(
        upstream.base_url,
        agents=("bot", "mixer", "tight", "poor", "banned", "paced", "counter"),
        budgets={
            "plenty": "limit: 1000.00, period: monthly",
            "mix": "limit: 1000.00, period: daily",
            "little": "limit: 0.001, period: yearly",
            "nothing": "limit: 0.000001, period: yearly",
            "cent": "limit: 0.01, period: yearly",
        },
        agent_budgets={"mixer": "mix", "tight": "little", "poor": "nothing", "counter": "cent"},
        rates={"pace": "limit: 2, every: 1s, match: {agent: paced}"},
        policies=POLICIES,
        models={
            "gpt-4o-mini": "connector: provider",
            "gpt-4.1": "connector: provider",
            "gpt-5-mini": "connector: provider, default_output_tokens: 300",
            "house": "connector: provider, upstream: gpt-4.1-nano, price: "
            "{input_per_million: 0.10, output_per_million: 0.40, cache_read_per_million: 0.025}",
            "nobody-knows-the-price": "connector: provider",
        },
    )
    with Gateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    """The official client, with all its defaults."""
    with client_of(gateway) as client:
        yield client


def client_of(gateway: Gateway, agent: str = "bot", **rest: Any) -> OpenAI:
    """The official client of an agent."""
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(agent), **rest)


def said(text: str, **rest: Any) -> dict[str, Any]:
    """The client's arguments for one message."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **rest}


def test_answers_are_the_providers(upstream: UpstreamProcess, gateway: Gateway, client: OpenAI) -> None:
    """Through the gateway an agent reads what the provider says, with its usage, and the bill is the ledger."""
    with OpenAI(base_url=f"{upstream.base_url}/v1", api_key=UPSTREAM_KEY) as direct:
        expected = direct.chat.completions.create(**said("Which invoice is due first?"))
    with happening(gateway, upstream) as happened:
        actual = client.chat.completions.create(**said("Which invoice is due first?"))
    assert expected.choices == actual.choices
    assert expected.usage == actual.usage
    assert expected.model == actual.model
    assert (1, 1) == (happened.arrived, happened.decided)
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_a_stream_hides_the_usage_from_who_did_not_ask(
    upstream: UpstreamProcess, gateway: Gateway, client: OpenAI
) -> None:
    """A stream without `include_usage` has no chunk with a usage in it, and is settled at the usage all the same."""
    whole = client.chat.completions.create(**said("Compare three offers."))
    with happening(gateway, upstream) as happened:
        chunks = list(client.chat.completions.create(**said("Compare three offers.", stream=True)))
    assert [] == [chunk for chunk in chunks if chunk.usage is not None or not chunk.choices]
    assert whole.choices[0].message.content == "".join(
        chunk.choices[0].delta.content or "" for chunk in chunks
    )
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_a_stream_shows_the_usage_to_who_asked(
    upstream: UpstreamProcess, gateway: Gateway, client: OpenAI
) -> None:
    """With `include_usage` the last chunk has the usage and no choices, as the provider sends it."""
    options = {"include_usage": True}
    with happening(gateway, upstream) as happened:
        chunks = list(
            client.chat.completions.create(
                **said("Compare three offers.", stream=True, stream_options=options)
            )
        )
    whole = client.chat.completions.create(**said("Compare three offers."))
    assert [chunks[-1]] == [chunk for chunk in chunks if not chunk.choices]
    assert whole.usage == chunks[-1].usage
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_words_arrive_when_they_are_said(client: OpenAI) -> None:
    """A stream is passed on word by word, not when it is over."""
    began = time.monotonic()
    arrivals = [
        time.monotonic() - began
        for _ in client.chat.completions.create(**said("[[tokens=20]] [[chunk_delay_ms=25]]", stream=True))
    ]
    assert arrivals[-1] - arrivals[0] > 0.4
    assert arrivals[0] < arrivals[-1] / 2


def test_the_async_client(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Plain and streamed calls of the asynchronous client, many at once, each charged once."""

    async def plain(client: AsyncOpenAI, number: int) -> str:
        answer = await client.chat.completions.create(**said(f"Question {number}"))
        return answer.choices[0].message.content or ""

    async def streamed(client: AsyncOpenAI, number: int) -> str:
        words = []
        async for chunk in await client.chat.completions.create(**said(f"Question {number}", stream=True)):
            words.append(chunk.choices[0].delta.content or "")
        return "".join(words)

    async def both() -> list[str]:
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key()) as client:
            return await asyncio.gather(
                *(ask(client, number) for number in range(12) for ask in (plain, streamed))
            )

    with happening(gateway, upstream) as happened:
        answers = asyncio.run(both())
    assert answers[::2] == answers[1::2]
    assert (24, 24) == (happened.arrived, happened.decided)
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_models_are_those_that_are_configured(gateway: Gateway, client: OpenAI) -> None:
    """The list of models has the names that agents may use, and asking for it is no decision."""
    before = gateway.count()
    models = list(client.models.list())
    assert ["gpt-4.1", "gpt-4o-mini", "gpt-5-mini", "house", "nobody-knows-the-price"] == sorted(
        model.id for model in models
    )
    assert {"model"} == {model.object for model in models}
    assert before == gateway.count()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("agent", "request_", "kind", "status", "code", "param", "words"),
    [
        (
            "banned",
            {},
            openai.PermissionDeniedError,
            403,
            "denied_by_policy",
            None,
            "this agent rests on Sundays",
        ),
        (
            "bot",
            {"tools": [{"type": "function", "function": {"name": f"f{number}"}} for number in range(4)]},
            openai.PermissionDeniedError,
            403,
            "denied_by_policy",
            None,
            "policy `no-tools` denies this",
        ),
        ("poor", {}, openai.APIStatusError, 402, "budget_exhausted", None, "ask its owner ana@acme.example"),
        ("bot", {"model": "gpt-99"}, openai.NotFoundError, 404, "model_not_found", "model", "`gpt-4o-mini`"),
        (
            "bot",
            {"model": "nobody-knows-the-price"},
            openai.APIStatusError,
            402,
            "unknown_price",
            None,
            "an unknown price is never $0",
        ),
        (
            "bot",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}
                ]
            },
            openai.APIStatusError,
            402,
            "unbounded_cost",
            None,
            "`messages[0].content[0]`",
        ),
    ],
)
def test_a_refusal_is_a_typed_error_after_one_attempt(
    upstream: UpstreamProcess,
    gateway: Gateway,
    agent: str,
    request_: dict[str, Any],
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
    param: str | None,
    words: str,
    stream: bool,
) -> None:
    """One decision, nothing upstream, nothing reserved, and the client's own type of error with all its fields."""
    with (
        client_of(gateway, agent) as client,
        happening(gateway, upstream) as happened,
        pytest.raises(kind) as caught,
    ):
        client.chat.completions.create(**{**said("hello"), **request_, "stream": stream})
    fault = caught.value
    assert kind is type(fault)
    assert (status, code, param) == (fault.status_code, fault.code, fault.param)
    assert words in fault.message
    assert (0, 1) == (happened.arrived, happened.decided)
    row = gateway.last_call()
    assert ("refused", "deny", code.replace("model_not_found", "unknown_tool")) == (
        row["state"],
        row["effect"],
        row["reason_code"],
    )
    headers = fault.response.headers
    assert (row["call"], "deny", row["policy_version"]) == (
        headers["aegis-decision-id"],
        headers["aegis-effect"],
        headers["aegis-policy-version"],
    )
    assert "false" == headers["x-should-retry"]
    assert "aegis-cost-usd" not in headers


@pytest.mark.parametrize("key", ["sk-somebody-elses-key", "aegis_live_" + "0" * 36])
def test_a_key_that_is_none_is_an_authentication_error(
    upstream: UpstreamProcess, gateway: Gateway, key: str
) -> None:
    """One attempt, no decision: there is no tenant to record it for."""
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key) as client,
        happening(gateway, upstream) as happened,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(**said("hello"))
    assert ("invalid_api_key", "authentication_error") == (caught.value.code, caught.value.type)
    assert key not in str(caught.value)
    assert (0, 0) == (happened.arrived, happened.decided)


def test_a_rate_limit_says_truthfully_how_long(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A client that gives up at once reads how long to wait; a moment before is too early, and then it passes."""
    with client_of(gateway, "paced", max_retries=0) as client:

        def is_let_through() -> bool:
            try:
                client.chat.completions.create(**said("[[tokens=1]]"))
            except openai.RateLimitError:
                return False
            return True

        until(lambda: not is_let_through(), "the rate limit never comes")
        with happening(gateway, upstream) as happened, pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**said("[[tokens=1]]"))
        asked_at = time.monotonic()
        headers = caught.value.response.headers
        wait_s = int(headers["retry-after-ms"]) / 1000
        assert 0 < wait_s <= int(headers["retry-after"]) <= 1
        assert ("rate_limited", "throttle") == (caught.value.code, headers["aegis-effect"])
        assert (0, 1) == (happened.arrived, happened.decided)
        while time.monotonic() - asked_at < wait_s - 0.15:
            assert not is_let_through()
        time.sleep(
            max(0.0, wait_s - (time.monotonic() - asked_at))
        )  # as long as it was told, which is what is tested
        assert is_let_through()


def test_a_client_that_waits_as_it_is_told_passes(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """With its default retries the client needs no code for rate limits: five calls pass where two may at once."""
    with client_of(gateway, "paced") as client, happening(gateway, upstream) as happened:
        for _ in range(5):
            client.chat.completions.create(**said("[[tokens=1]]"))
    assert 5 == happened.arrived
    assert 5 < happened.decided <= 10


def test_headers_tell_cost_and_what_is_left(gateway: Gateway) -> None:
    """An answer says which decision it is, what it cost and what the budget still has."""
    with client_of(gateway, "counter") as client:
        raw = client.chat.completions.with_raw_response.create(**said("How much?"))
    row = gateway.last_call()
    _, posted = gateway.standing("cent")
    assert {
        "aegis-decision-id": row["call"],
        "aegis-effect": "allow",
        "aegis-policy-version": row["policy_version"],
        "aegis-run-id": row["run"],
        "aegis-cost-usd": usd_decimal_text(row["cost_nano_usd"]),
        "aegis-budget-remaining-usd": usd_decimal_text(CENT_NANO_USD - posted),
    } == {name: value for name, value in raw.headers.items() if name.startswith("aegis-")}
    assert raw.headers["x-request-id"].startswith("chatcmpl-")


def test_a_stream_says_at_its_beginning_what_is_left(gateway: Gateway) -> None:
    """When a stream begins its cost is unknown: what is left is without its maximum."""
    with client_of(gateway, "counter") as client:
        _, posted = gateway.standing("cent")
        with client.chat.completions.with_streaming_response.create(
            **said("hello", stream=True, max_tokens=100)
        ) as answer:
            headers = answer.headers
            body = answer.read()
    row = gateway.last_call()
    assert body.endswith(b"data: [DONE]\n\n")
    assert "aegis-cost-usd" not in headers
    left = CENT_NANO_USD - posted - row["maximum_nano_usd"]
    assert usd_decimal_text(left) == headers["aegis-budget-remaining-usd"]


def test_no_limit_given_is_the_models_default(client: OpenAI) -> None:
    """A call without a limit gets the configured one, or 1,024 tokens, sent to the provider."""
    for model, expected in (("gpt-4o-mini", 1_024), ("gpt-5-mini", 300)):
        answer = client.chat.completions.create(**said("[[tokens=5000]]", model=model))
        assert answer.usage is not None
        assert (expected, "length") == (answer.usage.completion_tokens, answer.choices[0].finish_reason)


def test_a_limit_that_is_too_large_for_what_is_left_is_lowered(
    upstream: UpstreamProcess, gateway: Gateway
) -> None:
    """It is lowered to what the budget bears, not refused, until not even the least is left: then it is refused."""
    with client_of(gateway, "tight") as client:
        answer = client.chat.completions.create(**said("[[tokens=9000]]", max_tokens=8_000))
        row = gateway.last_call()
        assert answer.usage is not None
        assert 16 < answer.usage.completion_tokens < 8_000
        assert TIGHT_NANO_USD - 600 < row["maximum_nano_usd"] <= TIGHT_NANO_USD
        arrived, posted = 0, 0
        fault: openai.APIStatusError | None = None
        while fault is None:
            arrived, (_, posted) = upstream.bill()["arrived"], gateway.standing("little")
            try:
                answer = client.chat.completions.create(**said("[[tokens=9000]]", max_tokens=8_000))
            except openai.APIStatusError as refused:
                fault = refused
            assert answer.usage is not None
            assert answer.usage.completion_tokens >= 16
    assert (402, "budget_exhausted") == (fault.status_code, fault.code)
    assert arrived == upstream.bill()["arrived"]
    assert (0, posted) == gateway.standing("little")
    assert posted <= TIGHT_NANO_USD


def mixed(chance: random.Random, number: int) -> dict[str, Any]:
    """One call of the mix."""
    model = chance.choice(["gpt-4o-mini", "gpt-4.1", "gpt-5-mini", "house"])
    directives = [f"Question {number}. " * chance.randrange(1, 30)]
    if chance.random() < 0.4:
        directives.append(f"[[cached={chance.randrange(0, 2_000)}]]")
    if chance.random() < 0.5:
        directives.append(f"[[tokens={chance.randrange(0, 700)}]]")
    if model == "gpt-5-mini" and chance.random() < 0.6:
        directives.append(f"[[reasoning={chance.randrange(0, 300)}]]")
    asked = said(" ".join(directives), model=model, stream=chance.random() < 0.5)
    limit = chance.choice([None, 1, 20, 300, 16_000])
    if limit is not None:
        asked["max_completion_tokens" if model == "gpt-5-mini" else "max_tokens"] = limit
    if chance.random() < 0.3:
        asked["n"] = chance.randrange(2, 6)
    if asked["stream"] and chance.random() < 0.5:
        asked["stream_options"] = {"include_usage": True}
    return asked


def test_bill_and_ledger_agree_to_the_nano_dollar(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Over a seeded mix of models, streams, choices, cached and reasoning tokens and limits, call by call."""
    chance = random.Random(20_261_123)
    last = upstream.bill()["requests"]
    with client_of(gateway, "mixer", max_retries=0) as client, happening(gateway, upstream) as happened:
        for number in range(120):
            answer = client.chat.completions.create(**mixed(chance, number))
            if isinstance(answer, openai.Stream):
                assert list(answer)
    billed = [charge["nano_usd"] for charge in upstream.charges(last)]
    rows = gateway.query("select * from call where agent = ? order by sequence", "mixer")
    assert billed == [row["cost_nano_usd"] for row in rows]
    assert 120 == happened.arrived == happened.decided
    assert happened.billed_nano_usd == happened.charged_nano_usd == sum(billed)
    assert (0, sum(billed)) == gateway.standing("mix")
    assert [] == [
        row["call"] for row in rows if row["cost_nano_usd"] > row["maximum_nano_usd"] or row["overrun"]
    ]


def test_what_the_provider_refuses_costs_nothing(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """The provider's own error reaches the client as it is, and the call is settled at nothing."""
    with client_of(gateway, max_retries=0) as client, happening(gateway, upstream) as happened:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**said("[[tokens=oops]]"))
        assert "unknown_directive" == caught.value.code
        assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**said("[[fail=429]]"))
        assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
    assert (2, 2, 0, 0) == (
        happened.arrived,
        happened.decided,
        happened.billed_nano_usd,
        happened.charged_nano_usd,
    )


@pytest.mark.parametrize("order", ["[[break_after=4]]", "[[reset_after=4]]"])
def test_a_stream_that_breaks_off_is_an_error(gateway: Gateway, client: OpenAI, order: str) -> None:
    """The client reads what came, then an error with a code; the call is in doubt and counts at its maximum."""
    pending, _ = gateway.standing("plenty")
    asked = said(f"{order} [[tokens=50]] [[chunk_delay_ms=10]]", stream=True)
    chunks = iter(client.chat.completions.create(**asked))
    words = [next(chunks).choices[0].delta.content for _ in range(4)]
    with pytest.raises(openai.APIError) as caught:
        next(chunks)
    assert "upstream_failed" == caught.value.code
    assert "" != "".join(word or "" for word in words)
    row = gateway.last_call()
    assert "in_doubt" == row["state"]
    assert (pending + row["maximum_nano_usd"], row["maximum_nano_usd"]) == (
        gateway.standing("plenty")[0],
        row["maximum_nano_usd"],
    )
