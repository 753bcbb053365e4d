import asyncio
import http.client
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai
import pytest
from genai_prices.data_snapshot import get_snapshot
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from aegis_gateway.demo.upstream import prices
from aegis_gateway.demo.upstream.prices import Model
from aegis_gateway.demo.upstream.process import KEY, UpstreamProcess

WAIT_SECONDS = 10.0

# 40 characters with its directives, or padded to it: a quarter of them is 10 tokens.
SIZE = 40

SEARCH = 10_000_000
FILE_SEARCH = 2_500_000
CODE_RUN = 30_000_000


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
def client(upstream: UpstreamProcess) -> Iterator[OpenAI]:
    """OpenAI's client, without retries."""
    with OpenAI(base_url=f"{upstream.base_url}/v1", api_key=KEY, max_retries=0) as client:
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


def respond(client: OpenAI, **asked: Any) -> Any:
    """A response, or the stream of one."""
    return client.responses.create(**asked)


# OpenAI's Responses


def test_a_response_is_billed_by_hand(upstream: UpstreamProcess, client: OpenAI) -> None:
    """3 + 3 + 10 tokens in, 5 of them cached, 20 out, of gpt-4o at 2500, 1250 and 10000."""
    answer = respond(client, model="gpt-4o", input=padded("[[tokens=20]][[cached=5]]"), user="buyer")

    assert (16, 5, 0) == (
        answer.usage.input_tokens,
        answer.usage.input_tokens_details.cached_tokens,
        answer.usage.input_tokens_details.cache_write_tokens,
    )
    assert (20, 0, 36) == (
        answer.usage.output_tokens,
        answer.usage.output_tokens_details.reasoning_tokens,
        answer.usage.total_tokens,
    )
    assert ("completed", "gpt-4o-2024-08-06", None) == (answer.status, answer.model, answer.error)
    assert 20 == len(answer.output_text.split())
    assert [("responses", "gpt-4o", 11 * 2_500 + 5 * 1_250 + 20 * 10_000)] == bill_of(upstream)
    assert ["buyer"] == list(upstream.bill()["by_agent"])
    assert ["sk-...0001"] == list(upstream.bill()["by_account"])


def test_a_response_reasons_and_writes_caches(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Reasoning is an item and part of the output; written tokens have their own price."""
    asked = padded("[[tokens=9]][[reasoning=4]][[written=8]]")
    answer = respond(client, model="gpt-6-luna", input=asked)

    assert ["reasoning", "message"] == [item.type for item in answer.output]
    assert 4 == answer.usage.output_tokens_details.reasoning_tokens
    assert 8 == answer.usage.input_tokens_details.cache_write_tokens
    assert [("responses", "gpt-6-luna", 8 * 100 + 8 * 125 + 9 * 500)] == bill_of(upstream)


def test_a_response_stops_at_its_limit(upstream: UpstreamProcess, client: OpenAI) -> None:
    """At `max_output_tokens` it is incomplete; items, instructions and an earlier response are taken."""
    answer = respond(
        client,
        model="gpt-4o",
        instructions="12345678",
        input=[
            {"role": "user", "content": "1234"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "1234", "annotations": []}]},
            {"role": "user", "content": [{"type": "input_text", "text": padded("[[tokens=50]]")}]},
        ],
        previous_response_id="resp_1",
        max_output_tokens=16,
    )

    assert "incomplete" == answer.status
    assert answer.incomplete_details is not None
    assert "max_output_tokens" == answer.incomplete_details.reason
    assert ("resp_1", "12345678", 16) == (
        answer.previous_response_id,
        answer.instructions,
        answer.max_output_tokens,
    )
    prompt = 3 + (3 + 2) + (3 + 1) + (3 + 1) + (3 + 10)
    assert (prompt, 16) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert [("responses", "gpt-4o", prompt * 2_500 + 16 * 10_000)] == bill_of(upstream)


def test_hosted_tools_are_billed_by_the_call(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Searches, file searches, code and MCP calls, where the tools are on."""
    text = "[[searches=3]][[file_searches=2]][[code_runs=2]][[mcp_calls=1]][[tokens=1]]"
    tools: list[Any] = [
        {"type": "web_search"},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {
            "type": "mcp",
            "server_label": "erp",
            "server_url": "https://erp.example",
            "require_approval": "never",
        },
    ]

    answer = respond(client, model="gpt-4o", input=text, tools=tools)

    kinds = ["web_search_call"] * 3 + ["file_search_call"] * 2 + ["code_interpreter_call"] * 2
    assert [*kinds, "mcp_call", "message"] == [item.type for item in answer.output]
    containers = {item.container_id for item in answer.output if item.type == "code_interpreter_call"}
    assert 2 == len(containers)
    tokens = answer.usage.input_tokens * 2_500 + 10_000
    cost = tokens + 3 * SEARCH + 2 * FILE_SEARCH + 2 * CODE_RUN
    assert [("responses", "gpt-4o", cost)] == bill_of(upstream)
    quantities = upstream.charges()[0]["quantities"]
    assert (3, 2, 2, 1) == tuple(
        quantities[kind] for kind in ("web_searches", "file_searches", "code_runs", "mcp_calls")
    )


@pytest.mark.parametrize(
    ("options", "searches", "runs"),
    [
        ({}, 0, 0),
        ({"tools": [{"type": "web_search_preview"}]}, 3, 0),
        ({"tools": [{"type": "web_search_preview"}], "tool_choice": "none"}, 0, 0),
        (
            {
                "tools": [
                    {"type": "web_search"},
                    {"type": "code_interpreter", "container": {"type": "auto"}},
                ],
                "max_tool_calls": 4,
            },
            3,
            1,
        ),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, 2, 0),
    ],
)
def test_hosted_tools_are_bounded_by_the_request(
    upstream: UpstreamProcess, client: OpenAI, options: Any, searches: int, runs: int
) -> None:
    """What isn't on isn't called, and `max_tool_calls` counts calls of all kinds."""
    answer = respond(client, model="gpt-4o", input="[[searches=3]] [[code_runs=2]] [[tokens=1]]", **options)

    tokens = answer.usage.input_tokens * 2_500 + 10_000
    assert [("responses", "gpt-4o", tokens + searches * SEARCH + runs * CODE_RUN)] == bill_of(upstream)


def test_a_streamed_response_says_the_same(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Its events come in the published order, numbered, and end in the same response as unstreamed."""
    asked: dict[str, Any] = {
        "model": "gpt-5-mini",
        "input": "[[tokens=9]] [[reasoning=4]] [[searches=1]] [[code_runs=1]]",
        "tools": [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}],
    }
    whole = respond(client, **asked)
    events: list[Any] = list(respond(client, **asked, stream=True))

    item = ["response.output_item.added", "response.output_item.done"]
    search = [f"response.web_search_call.{step}" for step in ("in_progress", "searching", "completed")]
    code = [
        "response.code_interpreter_call.in_progress",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call_code.done",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call.completed",
    ]
    message = [
        "response.content_part.added",
        *["response.output_text.delta"] * 5,
        "response.output_text.done",
        "response.content_part.done",
    ]
    expected = ["response.created", "response.in_progress", *item]
    for steps in (search, code, message):
        expected += [item[0], *steps, item[1]]
    assert [*expected, "response.completed"] == [event.type for event in events]
    assert list(range(len(events))) == [event.sequence_number for event in events]
    assert None is events[0].response.usage
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert whole.output_text == said == events[-1].response.output_text
    assert whole.usage.output_tokens == events[-1].response.usage.output_tokens == 9
    costs = [cost for *_, cost in bill_of(upstream)]
    # `"stream": true` isn't part of the prompt.
    assert costs[0] == costs[1] == whole.usage.input_tokens * 250 + 9 * 2_000 + SEARCH + CODE_RUN


def test_the_responses_helper_reads_it(client: OpenAI) -> None:
    """The client's own accumulator of streams follows it to the end."""
    with client.responses.stream(model="gpt-4o", input="[[tokens=7]]", max_output_tokens=16) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()

    assert ("completed", 7) == (final.status, len(final.output_text.split()))


def test_a_stream_of_a_response_ends_as_it_ended(upstream: UpstreamProcess, client: OpenAI) -> None:
    """`response.incomplete` at the limit and `response.failed` by order, both with usage."""
    events: list[Any] = list(
        respond(client, model="gpt-4o", input="[[over=4]]", max_output_tokens=20, stream=True)
    )
    failed: list[Any] = list(
        respond(client, model="gpt-4o", input="[[error_after=5]] [[tokens=30]]", stream=True)
    )

    assert ("response.incomplete", 24) == (events[-1].type, events[-1].response.usage.output_tokens)
    assert ("response.failed", 5, 6) == (failed[-1].type, failed[-1].sequence_number, len(failed))
    assert ("failed", "server_error") == (failed[-1].response.status, failed[-1].response.error.code)
    assert 30 == failed[-1].response.usage.output_tokens
    assert 30 == upstream.charges()[1]["quantities"]["completion_tokens"]


def test_async_responses(upstream: UpstreamProcess) -> None:
    """The asynchronous client reads a streamed response."""

    async def read() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{upstream.base_url}/v1", api_key=KEY) as client:
            stream = await client.responses.create(model="gpt-4o", input="[[tokens=5]]", stream=True)
            return [event async for event in stream]

    events = asyncio.run(read())

    assert 5 == events[-1].response.usage.output_tokens


# OpenAI's embeddings


def test_embeddings_are_billed_by_hand(upstream: UpstreamProcess, client: OpenAI) -> None:
    """A text, texts, tokens and lists of tokens: 10, 20, 3 and 5 tokens at 20 or 130."""
    small, large = "text-embedding-3-small", "text-embedding-3-large"
    one = client.embeddings.create(model=small, input=padded("one"), user="indexer")
    two = client.embeddings.create(model=large, input=[padded("one"), padded("two")])
    three = client.embeddings.create(model=small, input=[101, 102, 103])
    four = client.embeddings.create(model=large, input=[[101], [102, 103, 104, 105]], dimensions=8)

    assert [10, 20, 3, 5] == [answer.usage.prompt_tokens for answer in (one, two, three, four)]
    assert [10, 20, 3, 5] == [answer.usage.total_tokens for answer in (one, two, three, four)]
    assert [1536, 3072, 3072, 8] == [len(each.embedding) for each in (*one.data, *two.data, four.data[1])]
    assert [0, 1] == [each.index for each in two.data]
    assert [
        ("embeddings", small, 10 * 20),
        ("embeddings", large, 20 * 130),
        ("embeddings", small, 3 * 20),
        ("embeddings", large, 5 * 130),
    ] == bill_of(upstream)
    assert 200 == upstream.bill()["by_agent"]["indexer"]["nano_usd"]


def test_embeddings_as_numbers_are_the_same(client: OpenAI) -> None:
    """`float` and `base64`, which the client asks for by itself, hold the same vector of length 1."""
    packed = client.embeddings.create(model="text-embedding-3-small", input="same")
    plain = client.embeddings.create(model="text-embedding-3-small", input="same", encoding_format="float")

    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-7)
    assert 1 == pytest.approx(sum(number * number for number in plain.data[0].embedding))


# Azure and audio


def test_azure_asks_a_deployment(upstream: UpstreamProcess) -> None:
    """The key is in `api-key`, the model in the path; a stream begins with an event without choices."""
    with AzureOpenAI(
        azure_endpoint=upstream.base_url, api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        messages: Any = [{"role": "user", "content": padded("[[tokens=20]]")}]
        answer = client.chat.completions.create(model="gpt-4o", messages=messages)
        chunks = list(
            client.chat.completions.create(
                model="gpt-4o", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="gpt-9", messages=messages)

    assert "DeploymentNotFound" == unknown.value.code
    assert answer.model_extra is not None
    assert "prompt_filter_results" in answer.model_extra
    assert ([], 1) == (chunks[0].choices, len(chunks[1].choices))
    assert answer.usage == chunks[-1].usage
    assert [("azure.chat.completions", "gpt-4o", 16 * 2_500 + 20 * 10_000)] * 2 == bill_of(upstream)
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    body = '{"messages": [{"role": "user", "content": "x"}]}'
    assert 401 == post(upstream, path, body, {"authorization": f"Bearer {KEY}"})[0]
    assert 404 == post(upstream, path.partition("?")[0], body, {"api-key": KEY})[0]


def test_audio_has_its_own_price(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Of 21 tokens in 6 are audio, of 20 out 12: gpt-audio at 2500, 32000, 10000 and 64000."""
    text = "[[tokens=20]] [[audio_in=6]] [[audio_out=12]]".ljust(60, ".")
    answer = client.chat.completions.create(model="gpt-audio", messages=[{"role": "user", "content": text}])

    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.completion_tokens_details is not None
    assert (21, 6) == (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.audio_tokens)
    assert (20, 12) == (
        answer.usage.completion_tokens,
        answer.usage.completion_tokens_details.audio_tokens,
    )
    cost = 15 * 2_500 + 6 * 32_000 + 8 * 10_000 + 12 * 64_000
    assert [("chat.completions", "gpt-audio", cost)] == bill_of(upstream)
    with pytest.raises(openai.BadRequestError, match="hears nothing"):
        client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "[[audio_in=1]]"}]
        )


# Prices of all APIs


def per_token(price: Any) -> int | None:
    """A catalogue's price per million, the lowest tier of it, in nano-USD per token."""
    base = getattr(price, "base", price)
    if base is None:
        return None
    nano = Decimal(str(base)) * 1000
    assert nano == int(nano)
    return int(nano)


TABLES: list[tuple[str, Model]] = [
    *(("openai", model) for name, model in prices.CHAT_MODELS.items() if name == model.name),
    *(("openai", model) for name, model in prices.RESPONSES_MODELS.items() if name == model.name),
    *(("openai", model) for name, model in prices.EMBEDDING_MODELS.items() if name == model.name),
    *(("anthropic", model) for name, model in prices.CLAUDE_MODELS.items() if name == model.name),
    *(("google", model) for name, model in prices.GEMINI_MODELS.items() if name == model.name),
]


@pytest.mark.parametrize(("provider", "model"), TABLES, ids=lambda each: getattr(each, "name", each))
def test_prices_are_the_published_ones(provider: str, model: Model) -> None:
    """The hand-written lists agree with the catalogue, below the tier where it has two prices."""
    _, found = get_snapshot().find_provider_model(model.snapshot, None, provider, None)
    listed = found.get_prices(datetime(2026, 11, 1, tzinfo=UTC))

    assert model.input_nano_usd == per_token(listed.input_mtok)
    assert model.output_nano_usd == per_token(listed.output_mtok or Decimal(0))
    assert model.cached_input_nano_usd == per_token(listed.cache_read_mtok or listed.input_mtok)
    assert model.cache_write_nano_usd == per_token(listed.cache_write_mtok)
    assert model.cache_write_1h_nano_usd == per_token(listed.cache_write_1h_mtok)
    heard = listed.input_audio_mtok or (listed.input_mtok if model.audio_input_nano_usd else None)
    assert model.audio_input_nano_usd == per_token(heard)
    assert model.audio_output_nano_usd == per_token(listed.output_audio_mtok)
    if listed.web_searches_kcount is not None:
        # $ per thousand searches are as many nano-USD per search as $ per million are for a thousand tokens.
        assert model.search_nano_usd == 1_000 * (per_token(listed.web_searches_kcount) or 0)
    tiers = [tier.start for tier in getattr(listed.input_mtok, "tiers", ())]
    assert all(model.input_tokens_max is not None and model.input_tokens_max <= tier for tier in tiers)
