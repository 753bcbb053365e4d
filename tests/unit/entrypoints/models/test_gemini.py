from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.domain.quote import HostedUse
from aegis_gateway.entrypoints.data_plane.models.dialect import Address, ModelRequest
from aegis_gateway.entrypoints.data_plane.models.gemini import (
    CountTokensDialect,
    GeminiDialect,
    GeminiWatch,
    gemini_usage,
)
from tests.unit.entrypoints.models.targets import connector, model

DIALECT = GeminiDialect("generateContent")
STREAM = GeminiDialect("streamGenerateContent")
ASK: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
HERE = Address(model="m")


def parse(**fields: Any) -> ModelRequest:
    """A request with fields added or changed."""
    return DIALECT.parse(HERE, json.dumps({**ASK, **fields}).encode())


def part(**fields: Any) -> dict[str, Any]:
    """A request with one part."""
    return {"contents": [{"parts": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"contents": []}, "contents", "at least one"),
        ({"contents": [7]}, "contents[0]", "must be an object"),
        ({"contents": [{"parts": [7]}]}, "contents[0].parts[0]", "must be an object"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts", "must be a list"),
        ({"generationConfig": 7}, "generationConfig", "must be an object"),
        (
            {"generationConfig": {"maxOutputTokens": 0}},
            "generationConfig.maxOutputTokens",
            "from 1 to",
        ),
        ({"generationConfig": {"candidateCount": 999}}, "generationConfig.candidateCount", "from 1 to"),
        ({"generationConfig": {}, "generation_config": {}}, "generationConfig", "under both its names"),
        (
            {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9}},
            "generationConfig.maxOutputTokens",
            "under both its names",
        ),
    ],
)
def test_faults(fields: dict[str, Any], field: str, words: str) -> None:
    """Each fault says what is wrong, and where; what two readers could take for two things is one."""
    with pytest.raises(CallError, match=words) as caught:
        parse(**fields)
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("fields", "expected", "kinds"),
    [
        ({}, (None, None), set()),
        ({"contents": [{"parts": {"text": "x"}}]}, (None, None), set()),
        (part(functionCall={}, thoughtSignature="x"), (None, None), set()),
        (part(inlineData={"mimeType": "audio/wav"}), ("contents[0].parts[0]", None), {"input_audio"}),
        (part(inline_data={"mime_type": "image/png"}), ("contents[0].parts[0]", None), {"input_image"}),
        (
            part(fileData={"fileUri": "x"}),
            ("contents[0].parts[0]", None),
            {"input_audio", "input_image", "input_video"},
        ),
        (
            {"systemInstruction": {"parts": [{"inlineData": {"mimeType": "video/mp4"}}]}},
            ("systemInstruction.parts[0]", None),
            {"input_video"},
        ),
        ({"cachedContent": "c"}, ("cachedContent", None), set()),
        ({"cached_content": "c"}, ("cachedContent", None), set()),
        ({"tools": [{"urlContext": {}}]}, ("tools[0].urlContext", None), set()),
        ({"tools": [{"functionDeclarations": []}, {"teleport": {}}]}, (None, "tools[1].teleport"), set()),
    ],
)
def test_what_no_count_of_bytes_bounds(
    fields: dict[str, Any], expected: tuple[str | None, str | None], kinds: set[str]
) -> None:
    """What isn't text, or stands elsewhere, is named, with what it may be billed as."""
    shape = parse(**fields).shape
    assert expected == (shape.unbounded_input_by, shape.unpriceable)
    assert kinds == shape.input_kinds


def test_what_the_answer_may_be_made_of() -> None:
    """Modalities other than text have prices of their own."""
    shape = parse(generationConfig={"responseModalities": ["TEXT", "audio"], "candidateCount": 2}).shape
    assert {"output_audio"} == shape.output_kinds
    assert 2 == shape.choices


def test_the_tools_that_the_provider_runs() -> None:
    """By either of their names."""
    shape = parse(tools=[{"google_search": {}}, {"codeExecution": {}}]).shape
    expected = (
        HostedUse(kind="web_search", field="tools[0].googleSearch", calls_max=None),
        HostedUse(kind="code_execution", field="tools[1].codeExecution", calls_max=None),
    )
    assert expected == shape.hosted


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"contents": [{}]}', b'{"generationConfig":{"maxOutputTokens":5},"contents": [{}]}'),
        (
            b'{"contents": [{}], "generation_config": {"max_output_tokens": 9, "topP": 0.50}}',
            b'{"contents": [{}], "generation_config": {"max_output_tokens": 5, "topP": 0.50}}',
        ),
        (
            b'{"contents": [{}], "generationConfig": {"topP": 0.50}}',
            b'{"contents": [{}], "generationConfig": {"maxOutputTokens":5,"topP": 0.50}}',
        ),
        (
            b'{"contents": [{}], "generationConfig": {"maxOutputTokens": 5}}',
            b'{"contents": [{}], "generationConfig": {"maxOutputTokens": 5}}',
        ),
    ],
)
def test_the_body_that_is_sent(raw: bytes, expected: bytes) -> None:
    """The limit is set where the caller would have set it, under the name that the caller used."""
    request = DIALECT.parse(HERE, raw)
    assert expected == DIALECT.body(connector("gemini"), model(), request, 5)
    assert raw == DIALECT.body(connector("gemini"), model(), request, None)


def test_where_it_goes() -> None:
    """To the upstream's model; a stream says in which form it is wanted, and only one of events is a stream to us."""
    raw = json.dumps(ASK).encode()
    events, array = STREAM.parse(Address(model="m", query="alt=sse"), raw), STREAM.parse(HERE, raw)
    url = "http://upstream.example/v1/models/u:streamGenerateContent"
    assert f"{url}?alt=sse" == STREAM.url(connector("gemini"), model(), events)
    assert url == STREAM.url(connector("gemini"), model(), array)
    assert (True, False) == (events.stream, array.stream)


def test_a_request_to_count_may_name_the_model_again() -> None:
    """It names the upstream's then."""
    counting = CountTokensDialect()
    raw = json.dumps({"generateContentRequest": {"model": "models/m", **ASK}}).encode()
    body = counting.body(connector("gemini"), model(), counting.parse(HERE, raw), None)
    assert "models/u" == json.loads(body)["generateContentRequest"]["model"]


@pytest.mark.parametrize(
    ("told", "searches", "expected"),
    [
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13},
            0,
            {"input": 9, "output": 4},
        ),
        ({"promptTokenCount": 9}, 0, {"input": 9}),
        ({"promptTokenCount": 0, "totalTokenCount": 0}, 0, {}),
        (
            {
                "promptTokenCount": 20,
                "cachedContentTokenCount": 8,
                "candidatesTokenCount": 4,
                "thoughtsTokenCount": 3,
                "toolUsePromptTokenCount": 2,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 13},
                    {"modality": "AUDIO", "tokenCount": 7},
                ],
                "cacheTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 6},
                    {"modality": "AUDIO", "tokenCount": 2},
                ],
            },
            1,
            {
                "input": 7,
                "input_audio": 5,
                "input_tool": 2,
                "cache_read": 6,
                "cache_read_audio": 2,
                "output": 4,
                "reasoning": 3,
                "web_search": 1,
            },
        ),
        (
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": 4,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 3}],
            },
            0,
            {"input": 9, "output": 1, "output_image": 3},
        ),
    ],
)
def test_usage(told: dict[str, Any], searches: int, expected: Any) -> None:
    """What is cached or heard is part of the prompt; thoughts and tools' results stand beside."""
    assert Usage(units=expected) == gemini_usage(told, searches)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"candidatesTokenCount": 4},
        {"promptTokenCount": -1},
        {"promptTokenCount": 9, "cachedContentTokenCount": 10},
        {"promptTokenCount": 9, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}]},
        {"promptTokenCount": 9, "candidatesTokenCount": "4"},
    ],
)
def test_a_usage_that_is_none(told: Any) -> None:
    """What is missing or makes no sense is no usage, and not one of zero."""
    assert None is gemini_usage(told, 0)


def chunk(tokens: int, **candidate: Any) -> bytes:
    """A chunk of a stream of events."""
    told = {"promptTokenCount": 9, "candidatesTokenCount": tokens}
    return b"data: " + json.dumps({"candidates": [candidate], "usageMetadata": told}).encode() + b"\r\n\r\n"


def test_a_chunk_that_may_be_the_last_is_held_back() -> None:
    """There is no event for the end: a chunk that finishes a candidate waits for the next, or for the end."""
    words, first = chunk(1, content={}), chunk(2, finishReason="STOP")
    last = chunk(4, finishReason="STOP", groundingMetadata={"webSearchQueries": ["a", "b"]})
    watch = GeminiWatch()
    assert words == watch.feed(words)
    assert b"" == watch.feed(first)
    assert first == watch.feed(last)
    watch.end()
    assert watch.is_done
    assert last == watch.last
    assert Usage(units={"input": 9, "output": 4, "web_search": 2}) == watch.usage


def test_a_stream_that_breaks_off() -> None:
    """Without a candidate that finished it is not done."""
    watch = GeminiWatch()
    watch.feed(chunk(1, content={}))
    watch.end()
    assert not watch.is_done


def test_an_array_of_chunks() -> None:
    """The last chunk's counts hold, and searches of all are counted."""
    chunks = [
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1}},
        {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a"]}}]},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4}},
    ]
    expected = Usage(units={"input": 9, "output": 4, "web_search": 1})
    assert expected == STREAM.usage(json.dumps(chunks).encode())
