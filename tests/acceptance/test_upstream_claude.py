import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from aegis_gateway.demo.upstream.process import KEY, UpstreamProcess

# Anthropic's client warns of models that will be retired; their prices are published until then.
pytestmark = pytest.mark.filterwarnings("ignore:The model 'claude-:DeprecationWarning")

WAIT_SECONDS = 10.0

# 40 characters with its directives, or padded to it: a quarter of them is 10 tokens.
SIZE = 40

SEARCH = 10_000_000
CLAUDE = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def running() -> Iterator[UpstreamProcess]:
    """One upstream for the whole module."""
    with UpstreamProcess(apps="provider") as process:
        yield process


@pytest.fixture
def upstream(running: UpstreamProcess) -> UpstreamProcess:
    """The upstream with an empty bill."""
    running.reset()
    return running


@pytest.fixture
def claude(upstream: UpstreamProcess) -> Iterator[Anthropic]:
    """Anthropic's client, without retries."""
    with Anthropic(base_url=upstream.base_url, api_key=KEY, max_retries=0) as client:
        yield client


def padded(text: str) -> str:
    """The text with dots, up to the size whose tokens are known."""
    assert len(text) <= SIZE
    return text.ljust(SIZE, ".")


def bill_of(upstream: UpstreamProcess) -> list[tuple[str, str, int]]:
    """Each charge: API, model, nano-USD."""
    return [(each["operation"], each["model"], each["nano_usd"]) for each in upstream.charges()]


def post(upstream: UpstreamProcess, path: str, body: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
    """One request by the standard library: status, headers and body."""
    connection = http.client.HTTPConnection(upstream.base_url.removeprefix("http://"), timeout=WAIT_SECONDS)
    try:
        connection.request("POST", path, body.encode(), {"X-Agent": "clerk", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def send(claude: Anthropic, **asked: Any) -> Any:
    """A message, or the stream of one."""
    return claude.messages.create(**asked)


def test_a_message_is_billed_by_hand(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """3 + 3 + 15 tokens in: 4 read, 5 written for 5 minutes, 6 for an hour, 6 plain; 20 out."""
    text = "[[tokens=20]][[cached=4]][[written=5]][[written_1h=6]]".ljust(60, ".")

    answer = claude.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=100,
        messages=[{"role": "user", "content": text}],
        metadata={"user_id": "writer"},
    )

    usage = answer.usage
    assert (6, 11, 4, 20) == (
        usage.input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
        usage.output_tokens,
    )
    assert usage.cache_creation is not None
    assert (5, 6) == (
        usage.cache_creation.ephemeral_5m_input_tokens,
        usage.cache_creation.ephemeral_1h_input_tokens,
    )
    assert ("standard", "end_turn") == (usage.service_tier, answer.stop_reason)
    assert "claude-sonnet-4-5-20250929" == answer.model
    cost = 6 * 3_000 + 5 * 3_750 + 6 * 6_000 + 4 * 300 + 20 * 15_000
    assert [("messages", "claude-sonnet-4-5", cost)] == bill_of(upstream)
    assert cost == upstream.bill()["by_agent"]["writer"]["nano_usd"]
    assert 21 == upstream.charges()[0]["quantities"]["prompt_tokens"]


def test_cached_tokens_are_part_of_the_prompt(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """However many are ordered: read, written and plain tokens add up to no more than the prompt."""
    text = "[[cached=7]][[written=1000000]][[written_1h=1000000]]".ljust(60, ".")

    usage = claude.messages.create(
        model="claude-haiku-4-5", max_tokens=1, messages=[{"role": "user", "content": text}]
    ).usage

    assert (0, 14, 7) == (
        usage.input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
    )
    assert [("messages", "claude-haiku-4-5", 7 * 100 + 14 * 1_250 + 5_000)] == bill_of(upstream)


def test_a_streamed_message_says_the_same(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """Its events come in the published order; the usage at its end is cumulative."""
    asked: dict[str, Any] = {
        "model": "claude-haiku-4-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "[[tokens=12]] [[cached=2]]"}],
    }
    whole = claude.messages.create(**asked)
    events: list[Any] = list(claude.messages.create(**asked, stream=True))
    with claude.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    _, _, raw = post(upstream, "/v1/messages", json.dumps({**asked, "stream": True}), CLAUDE)

    assert [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 10,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == [event.type for event in events]
    assert b"event: ping\ndata: " in raw
    first, last = events[0].message.usage, events[-2].usage
    assert (1, 10) == (first.output_tokens, last.output_tokens)
    assert first.input_tokens == last.input_tokens == whole.usage.input_tokens
    assert 2 == first.cache_read_input_tokens == last.cache_read_input_tokens
    said = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    assert isinstance(whole.content[0], anthropic.types.TextBlock)
    assert whole.content[0].text == said
    assert ("max_tokens", 10) == (final.stop_reason, final.usage.output_tokens)
    assert "max_tokens" == whole.stop_reason == events[-2].delta.stop_reason
    costs = [cost for *_, cost in bill_of(upstream)]
    assert costs[0] == costs[1] == costs[2] == costs[3]


def test_claude_searches_as_often_as_allowed(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """`max_uses` bounds the searches; without the tool there are none; the first usage isn't the last."""
    asked: dict[str, Any] = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "[[searches=3]] [[tokens=2]]"}],
    }
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}

    all_of_them = send(claude, **asked, tools=[tool])
    two = send(claude, **asked, tools=[{**tool, "max_uses": 2}])
    none = send(claude, **asked)
    events = list(send(claude, **asked, tools=[{**tool, "max_uses": 1}], stream=True))

    usages = [answer.usage for answer in (all_of_them, two, none)]
    assert [3, 2, None] == [
        usage.server_tool_use and usage.server_tool_use.web_search_requests for usage in usages
    ]
    assert ["server_tool_use", "web_search_tool_result"] * 2 + ["text"] == [each.type for each in two.content]
    start, end = events[0].message.usage, events[-2].usage
    assert (0, 1) == (
        start.server_tool_use.web_search_requests,
        end.server_tool_use.web_search_requests,
    )
    assert start.input_tokens < end.input_tokens
    inputs = [usage.input_tokens for usage in usages] + [end.input_tokens]
    assert [
        ("messages", "claude-sonnet-4-5", tokens * 3_000 + 2 * 15_000 + searches * SEARCH)
        for tokens, searches in zip(inputs, (3, 2, 0, 1), strict=True)
    ] == bill_of(upstream)


def test_claude_thinks(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """Thinking is a block of its own and part of the output's tokens."""
    asked: dict[str, Any] = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": "[[tokens=30]] [[reasoning=20]]"}],
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
    }
    whole = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()

    for answer in (whole, streamed):
        assert ["thinking", "text"] == [block.type for block in answer.content]
        assert 30 == answer.usage.output_tokens
    assert whole.usage.output_tokens_details is not None
    assert 20 == whole.usage.output_tokens_details.thinking_tokens
    assert 30 * 15_000 + whole.usage.input_tokens * 3_000 == upstream.charges()[0]["nano_usd"]


def test_counting_tokens_is_free(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """The count is what a call would report, costs nothing, and is on the bill."""
    messages: Any = [{"role": "user", "content": padded("x")}]
    counted = claude.messages.count_tokens(model="claude-haiku-4-5", messages=messages)

    assert 3 + 3 + 10 == counted.input_tokens
    assert [("messages.count_tokens", "claude-haiku-4-5", 0)] == bill_of(upstream)


def test_claudes_refusals(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """Wrong key, model and limits get the client's own exceptions; a bearer works; nothing is billed."""
    messages: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="sk-somebody-else").messages.create(
            model="claude-haiku-4-5", max_tokens=5, messages=messages
        )
    with pytest.raises(anthropic.NotFoundError, match="claude-6"):
        claude.messages.create(model="claude-6", max_tokens=5, messages=messages)
    with pytest.raises(anthropic.BadRequestError, match="64001 > 64000"):
        claude.with_options(timeout=5).messages.create(
            model="claude-haiku-4-5", max_tokens=64_001, messages=messages
        )
    body = '{"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "x"}]}'
    status, _, without_limit = post(upstream, "/v1/messages", body, CLAUDE)
    assert (400, "max_tokens: Field required") == (status, json.loads(without_limit)["error"]["message"])
    status, _, no_version = post(upstream, "/v1/messages", body, {"x-api-key": KEY})
    assert (400, "invalid_request_error") == (status, json.loads(no_version)["error"]["type"])
    assert 401 == post(upstream, "/v1/messages", body, {"anthropic-version": "2023-06-01"})[0]
    too_long = body.replace('"x"', '"' + "x" * 800_100 + '"').replace("{", '{"max_tokens": 5, ', 1)
    status, _, refused = post(upstream, "/v1/messages", too_long, CLAUDE)
    assert (400, True) == (status, b"prompt is too long: 200031 tokens" in refused)
    assert 0 == upstream.bill()["requests"]

    with Anthropic(base_url=upstream.base_url, auth_token=KEY, max_retries=0) as by_bearer:
        by_bearer.messages.create(model="claude-haiku-4-5", max_tokens=5, messages=messages)
    assert ["sk-...0001"] == list(upstream.bill()["by_account"])


def test_an_error_in_the_middle_of_a_message(upstream: UpstreamProcess, claude: Anthropic) -> None:
    """`error_after` is an `event: error` that the client raises; all of it is billed."""
    stream = claude.messages.create(
        model="claude-haiku-4-5",
        max_tokens=50,
        messages=[{"role": "user", "content": "[[error_after=4]] [[tokens=40]]"}],
        stream=True,
    )
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        list(stream)

    assert 40 == upstream.charges()[0]["quantities"]["completion_tokens"]


def test_async_claude(upstream: UpstreamProcess) -> None:
    """The asynchronous client reads a streamed message."""

    async def read() -> list[Any]:
        async with AsyncAnthropic(base_url=upstream.base_url, api_key=KEY) as client:
            stream = await client.messages.create(
                model="claude-haiku-4-5",
                max_tokens=50,
                messages=[{"role": "user", "content": "[[tokens=5]]"}],
                stream=True,
            )
            return [event async for event in stream]

    assert 5 == asyncio.run(read())[-2].usage.output_tokens
