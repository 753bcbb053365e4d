from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.domain.quote import HostedUse
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS, ModelRequest
from aegis_gateway.entrypoints.data_plane.models.responses import (
    ResponsesDialect,
    ResponsesWatch,
    response_usage,
)
from tests.unit.entrypoints.models.targets import connector, model

DIALECT = ResponsesDialect()
ASK: dict[str, Any] = {"model": "m", "input": "hi"}
COUNTS = {"input_tokens": 9, "output_tokens": 4}


def parse(**fields: Any) -> ModelRequest:
    """A request with fields added or changed."""
    return DIALECT.parse(NO_ADDRESS, json.dumps({**ASK, **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": ""}, "model", "is missing"),
        ({"input": 7}, "input", "a text or a list"),
        ({"input": [7]}, "input[0]", "must be an object"),
        ({"max_output_tokens": 0}, "max_output_tokens", "from 1 to"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"background": True}, "background", "cannot be accounted for"),
        ({"tools": {}}, "tools", "must be a list"),
        ({"tools": [7]}, "tools[0]", "must be an object"),
        ({"max_tool_calls": -1}, "max_tool_calls", "from 1 to"),
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
        ({"input": [{"role": "user", "content": "hi"}]}, (None, None)),
        ({"input": [{"content": [{"type": "input_text"}, {"type": "output_text"}]}]}, (None, None)),
        (
            {"input": [{"type": "function_call"}, {"type": "function_call_output", "output": "x"}]},
            (None, None),
        ),
        ({"input": [{"content": [{"type": "input_image"}]}]}, ("input[0].content[0]", None)),
        (
            {"input": [{"type": "function_call_output", "output": [{"type": "input_file"}]}]},
            ("input[0].content[0]", None),
        ),
        ({"input": [{"type": "item_reference", "id": "x"}]}, ("input[0]", None)),
        ({"previous_response_id": "resp_1"}, ("previous_response_id", None)),
        ({"conversation": "conv_1"}, ("conversation", None)),
        ({"prompt": {"id": "p"}}, ("prompt", None)),
        ({"service_tier": "flex"}, (None, "service_tier")),
        ({"service_tier": "default"}, (None, None)),
        ({"tools": [{"type": "function"}, {"type": "image_generation"}]}, (None, "tools[1]")),
    ],
)
def test_what_no_count_of_bytes_bounds(
    fields: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    """What stands at the provider, or isn't text, is named; so is what has a price that nothing states."""
    shape = parse(**fields).shape
    assert expected == (shape.unbounded_input_by, shape.unpriceable)


def test_the_tools_that_the_provider_runs() -> None:
    """They are told from the caller's own by their type, whatever version it names; each counts once."""
    tools = [
        {"type": "function"},
        {"type": "web_search_preview_2025_03_11"},
        {"type": "web_search"},
        {"type": "file_search"},
        {"type": "code_interpreter"},
        {"type": "mcp", "server_label": "x"},
    ]
    expected = (
        HostedUse(kind="web_search", field="tools[1]", calls_max=3),
        HostedUse(kind="file_search", field="tools[3]", calls_max=3),
        HostedUse(kind="code_execution", field="tools[4]", calls_max=3),
        HostedUse(kind="hosted_mcp", field="tools[5]", calls_max=3),
    )
    assert expected == parse(tools=tools, max_tool_calls=3).shape.hosted


def test_the_body_that_is_sent() -> None:
    """It has the upstream's name of the model and the reserved limit, and is otherwise as it came."""
    raw = b'{"model" :"m", "input":"hi", "odd": 1.0}'
    request = DIALECT.parse(NO_ADDRESS, raw)
    expected = b'{"max_output_tokens":7,"model" :"u", "input":"hi", "odd": 1.0}'
    assert expected == DIALECT.body(connector("openai"), model(), request, 7)
    assert raw == DIALECT.body(connector("openai"), model("m"), request, None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("openai", "http://upstream.example/v1/responses"),
        ("azure", "http://upstream.example/v1/openai/responses?api-version=2024-10-21"),
    ],
)
def test_where_it_goes(kind: Any, expected: str) -> None:
    """Azure names a version of the API in the address."""
    assert expected == DIALECT.url(connector(kind), model(), parse())


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"usage": COUNTS}, {"input": 9, "output": 4}),
        ({"usage": {"input_tokens": 0, "output_tokens": 0}}, {}),
        (
            {
                "usage": {
                    **COUNTS,
                    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
                    "output_tokens_details": {"reasoning_tokens": 3},
                }
            },
            {"input": 3, "cache_read": 5, "cache_write": 1, "output": 1, "reasoning": 3},
        ),
        (
            {
                "usage": COUNTS,
                "output": [
                    {"type": "web_search_call", "action": {"type": "search"}},
                    {"type": "web_search_call", "action": {"type": "open_page"}},
                    {"type": "web_search_call"},
                    {"type": "file_search_call"},
                    {"type": "code_interpreter_call", "container_id": "a"},
                    {"type": "code_interpreter_call", "container_id": "a"},
                    {"type": "code_interpreter_call", "container_id": "b"},
                    {"type": "mcp_call"},
                    {"type": "message"},
                    7,
                ],
            },
            {
                "input": 9,
                "output": 4,
                "web_search": 2,
                "file_search": 1,
                "code_execution": 2,
                "hosted_mcp": 1,
            },
        ),
    ],
)
def test_usage(response: dict[str, Any], expected: Any) -> None:
    """Cached and written tokens are part of the input, reasoning of the output; hosted tools stand in the output."""
    assert Usage(units=expected) == response_usage(response)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        {"input_tokens": 9},
        {"output_tokens": 4},
        {"input_tokens": 9, "output_tokens": None},
        {"input_tokens": -1, "output_tokens": 4},
        {"input_tokens": 9, "output_tokens": 4.0},
        {**COUNTS, "input_tokens_details": {"cached_tokens": 10}},
        {**COUNTS, "input_tokens_details": 7},
        {**COUNTS, "output_tokens_details": {"reasoning_tokens": 5}},
    ],
)
def test_a_usage_that_is_none(usage: object) -> None:
    """What is missing or makes no sense is no usage, and not one of zero."""
    assert None is response_usage({"usage": usage})


def event(kind: str, **fields: Any) -> bytes:
    """An event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_the_terminal_event_is_held_back(status: str) -> None:
    """It carries the usage, and is not passed on before its cost is on disk; in whatever pieces it arrives."""
    delta = event("response.output_text.delta", delta="it was response.completed, he said")
    last = event(f"response.{status}", response={"usage": COUNTS})
    watch = ResponsesWatch()
    stream = delta + last
    passed = b"".join(watch.feed(stream[place : place + 7]) for place in range(0, len(stream), 7))
    watch.end()
    assert delta == passed
    assert last == watch.last
    assert watch.is_done
    assert Usage(units={"input": 9, "output": 4}) == watch.usage


def test_a_stream_without_its_end() -> None:
    """It is not done, and has no usage."""
    watch = ResponsesWatch()
    watch.feed(event("response.created", response={"usage": None}))
    watch.end()
    assert not watch.is_done
    assert None is watch.usage
