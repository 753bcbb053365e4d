from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.domain.quote import HostedUse
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS, Address, ModelRequest
from aegis_gateway.entrypoints.data_plane.models.messages import (
    TOOLS_PROMPT_TOKENS,
    CountTokensDialect,
    MessagesDialect,
    MessagesWatch,
    messages_usage,
)
from tests.unit.entrypoints.models.targets import connector, model

DIALECT = MessagesDialect()
ASK: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def parse(**fields: Any) -> ModelRequest:
    """A request with fields added or changed."""
    return DIALECT.parse(NO_ADDRESS, json.dumps({**ASK, **fields}).encode())


def block(**fields: Any) -> dict[str, Any]:
    """A message with one block."""
    return {"messages": [{"role": "user", "content": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": None}, "model", "is missing"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": [7]}, "messages[0]", "must be an object"),
        ({"max_tokens": "9"}, "max_tokens", "from 1 to"),
        ({"stream": 1}, "stream", "true or false"),
        ({"tools": [7]}, "tools[0]", "must be an object"),
        ({"tools": [{"type": "web_search_20250305", "max_uses": 0}]}, "tools[0].max_uses", "from 1 to"),
    ],
)
def test_faults(fields: dict[str, Any], field: str, words: str) -> None:
    """Each fault says what is wrong, and where."""
    with pytest.raises(CallError, match=words) as caught:
        parse(**fields)
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, None)),
        (block(type="text", text="x"), (None, None)),
        (block(type="tool_result", content=[{"type": "text"}]), (None, None)),
        (block(type="tool_result", content="x"), (None, None)),
        (block(type="image"), ("messages[0].content[0]", None)),
        (block(type="document"), ("messages[0].content[0]", None)),
        (block(type="tool_result", content=[{"type": "image"}]), ("messages[0].content[0].content[0]", None)),
        ({"system": [{"type": "image"}]}, ("system[0]", None)),
        ({"container": "c"}, ("container", None)),
        ({"tools": [{"type": "web_fetch_20250910"}]}, ("tools[0]", None)),
        ({"tools": [{"name": "own"}, {"type": "bash_20250124"}]}, (None, None)),
        ({"tools": [{"type": "teleport_20270101"}]}, (None, "tools[0]")),
        ({"service_tier": "auto", "speed": "standard"}, (None, None)),
        ({"service_tier": "turbo"}, (None, "service_tier")),
        ({"speed": "fast"}, (None, "speed")),
        ({"inference_geo": "us"}, (None, "inference_geo")),
    ],
)
def test_what_no_count_of_bytes_bounds(
    fields: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    """What isn't text, or stands elsewhere, is named; so is what has a price that nothing states."""
    shape = parse(**fields).shape
    assert expected == (shape.unbounded_input_by, shape.unpriceable)


def test_the_tools_that_the_provider_runs() -> None:
    """Each with as many uses as the request allows; its servers count as one."""
    shape = parse(
        tools=[{"type": "web_search_20250305", "max_uses": 2}, {"type": "code_execution_20250825"}],
        mcp_servers=[{"url": "https://x.example"}],
    ).shape
    expected = (
        HostedUse(kind="web_search", field="tools[0]", calls_max=2),
        HostedUse(kind="code_execution", field="tools[1]", calls_max=None),
        HostedUse(kind="hosted_mcp", field="mcp_servers", calls_max=None),
    )
    assert expected == shape.hosted


def test_tools_bring_a_prompt_of_the_providers_own() -> None:
    """What it adds is billed, and stands in no byte of the request."""
    raw = json.dumps({**ASK, "tools": [{"name": "own"}]}).encode()
    assert len(raw) + TOOLS_PROMPT_TOKENS == DIALECT.parse(NO_ADDRESS, raw).shape.input_bytes


def test_what_is_sent_and_where_to() -> None:
    """The model's name and the limit change, and nothing else; the query goes along."""
    request = DIALECT.parse(Address(query="beta=true"), json.dumps(ASK).encode())
    body = DIALECT.body(connector("anthropic"), model(), request, 5)
    assert {**ASK, "model": "u", "max_tokens": 5} == json.loads(body)
    expected = "http://upstream.example/v1/messages?beta=true"
    assert expected == DIALECT.url(connector("anthropic"), model(), request)
    counting = CountTokensDialect()
    expected = "http://upstream.example/v1/messages/count_tokens"
    assert expected == counting.url(connector("anthropic"), model(), parse())
    assert counting.is_free


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 9, "output_tokens": 4}, {"input": 9, "output": 4}),
        ({"input_tokens": 0, "output_tokens": 0}, {}),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 20,
            },
            {"input": 9, "cache_read": 20, "cache_write": 30, "output": 4},
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
                "output_tokens_details": {"thinking_tokens": 3},
            },
            {
                "input": 9,
                "cache_write": 10,
                "cache_write_1h": 20,
                "output": 1,
                "reasoning": 3,
                "web_search": 2,
            },
        ),
        (
            {"input_tokens": 9, "output_tokens": 4, "cache_creation": None, "server_tool_use": None},
            {"input": 9, "output": 4},
        ),
    ],
)
def test_usage(usage: dict[str, Any], expected: Any) -> None:
    """What is read from the cache or written to it, by how long it lasts, stands beside the input."""
    assert Usage(units=expected) == messages_usage(usage)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"input_tokens": 9},
        {"input_tokens": 9, "output_tokens": None},
        {"input_tokens": "9", "output_tokens": 4},
        {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": -1},
        {"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 5}},
        {
            "input_tokens": 9,
            "output_tokens": 4,
            "cache_creation_input_tokens": 3,
            "cache_creation": {"ephemeral_1h_input_tokens": 5},
        },
    ],
)
def test_a_usage_that_is_none(usage: object) -> None:
    """What is missing or makes no sense is no usage, and not one of zero."""
    assert None is messages_usage(usage)


def event(kind: str, **fields: Any) -> bytes:
    """An event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = event("message_start", message={"usage": {"input_tokens": 9, "output_tokens": 1}})
DELTA = event("content_block_delta", delta={"text": "a message_stop, he said"})
STOP = event("message_stop")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([{"output_tokens": 4}], {"input": 9, "output": 4}),
        ([{"output_tokens": 2}, {"output_tokens": 4}], {"input": 9, "output": 4}),
        ([{"input_tokens": 12, "output_tokens": 4}], {"input": 12, "output": 4}),
        (
            [{"output_tokens": 4, "server_tool_use": {"web_search_requests": 1}}],
            {"input": 9, "output": 4, "web_search": 1},
        ),
        ([{"output_tokens": 4, "input_tokens": None}], {"input": 9, "output": 4}),
    ],
)
def test_what_is_told_last_counts(told: list[dict[str, Any]], expected: Any) -> None:
    """Counts of a stream are cumulative: the last of each name replaces those before. The end is held back."""
    watch = MessagesWatch()
    deltas = b"".join(event("message_delta", usage=usage) for usage in told)
    assert START + DELTA + deltas == watch.feed(START + DELTA + deltas + STOP)
    watch.end()
    assert watch.is_done
    assert STOP == watch.last
    assert Usage(units=expected) == watch.usage


@pytest.mark.parametrize("events", [START + DELTA, START + event("message_delta", delta={}) + STOP])
def test_a_stream_that_does_not_count_its_output(events: bytes) -> None:
    """What the start says of the output is no count of it: without one at the end there is no usage."""
    watch = MessagesWatch()
    watch.feed(events)
    watch.end()
    assert None is watch.usage
