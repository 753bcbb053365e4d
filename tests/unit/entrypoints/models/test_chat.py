from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.entrypoints.data_plane.models.chat import ChatDialect, chat_usage
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS, ModelRequest
from tests.unit.entrypoints.models.targets import connector, model

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
DIALECT = ChatDialect()

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def parse(raw: bytes) -> ModelRequest:
    """Read a request."""
    return DIALECT.parse(NO_ADDRESS, raw)


def sent(request: ModelRequest, limit: int | None, name: str = "u") -> bytes:
    """What is sent of it, to an upstream that knows the model by another name."""
    return DIALECT.body(connector("openai"), model(name), request, limit)


def chat(**fields: Any) -> bytes:
    """A chat request with fields added or changed."""
    return json.dumps({**ASK, **fields}).encode()


def fault_of(raw: bytes) -> CallError:
    """What is wrong with a chat request."""
    with pytest.raises(CallError) as caught:
        parse(raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        (b"", None, "not valid JSON"),
        (b"{", None, "not valid JSON"),
        (b'{"model": "m"', None, "not valid JSON"),
        (b"[]", None, "must be a JSON object"),
        (b"null", None, "must be a JSON object"),
        (b'{"model": NaN}', None, "not valid JSON"),
        (b'{"model": 1e400}', None, "not valid JSON"),
        (b'{"model": "\xff"}', None, "it is not UTF-8"),
        (b'{"model": "\\ud800"}', None, "not valid JSON"),
        (b'\xef\xbb\xbf{"model": "m"}', None, "not valid JSON"),
        ('{"model": "m"}'.encode("utf-16"), None, "not valid JSON"),
        (b"[" * 100_000, None, "nested too deeply"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "nested too deeply"),
        (b"{}", "model", "`model` is missing"),
        (b'{"model": 7}', "model", "`model` is missing"),
        (b'{"model": ""}', "model", "`model` is missing"),
        (b'{"model": "a\\u0000b", "messages": [{}]}', "model", "control characters"),
        (b'{"model": "m"}', "messages", "at least one message"),
        (b'{"model": "m", "messages": "hi"}', "messages", "must be a list"),
        (b'{"model": "m", "messages": []}', "messages", "at least one message"),
        (b'{"model": "m", "messages": [7]}', "messages[0]", "must be an object"),
        (chat(max_tokens=0), "max_tokens", "from 1 to"),
        (chat(max_tokens=-1), "max_tokens", "from 1 to"),
        (chat(max_tokens=1.5), "max_tokens", "from 1 to"),
        (chat(max_tokens="10"), "max_tokens", "from 1 to"),
        (chat(max_tokens=True), "max_tokens", "from 1 to"),
        (chat(max_tokens=10**30), "max_tokens", "from 1 to"),
        (chat(max_completion_tokens=0), "max_completion_tokens", "from 1 to"),
        (chat(n=0), "n", "from 1 to 128"),
        (chat(n=129), "n", "from 1 to 128"),
        (chat(stream="yes"), "stream", "must be true or false"),
        (chat(stream=1), "stream", "must be true or false"),
        (chat(stream_options=[]), "stream_options", "must be an object"),
    ],
)
def test_faults_of_a_chat_request(raw: bytes, field: str | None, words: str) -> None:
    """Each fault says what is wrong, and where."""
    fault = fault_of(raw)
    assert field == fault.field
    assert words in str(fault)
    assert 400 == fault.status


@given(st.binary(max_size=64) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_chat_request_or_a_fault_of_the_caller(raw: bytes) -> None:
    """Nothing that can be sent makes the parser fail in another way."""
    with contextlib.suppress(CallError):
        assert parse(raw).body.canonical


@given(st.dictionaries(TEXTS, JSON_VALUES, max_size=4), JSON_VALUES)
def test_fields_of_any_value_are_understood_or_refused(fields: dict[str, Any], content: Any) -> None:
    """Whatever stands in unknown fields and in a message's content, the parser answers."""
    raw = json.dumps({**fields, "model": "m", "messages": [{"content": content}]}).encode()
    with contextlib.suppress(CallError):
        assert "m" == parse(raw).model


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 9, "max_completion_tokens": 7}, 7),
        ({"max_tokens": None}, None),
    ],
)
def test_the_callers_output_limit(fields: dict[str, Any], expected: int | None) -> None:
    """The limit is the lower of the two that may be given; null is none."""
    assert expected == parse(chat(**fields)).shape.output_tokens


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, None)),
        ({"messages": [{"content": [{"type": "text", "text": "a"}]}]}, (None, None)),
        ({"tools": [{"type": "function"}, {"type": "custom"}]}, (None, None)),
        ({"modalities": ["text"], "service_tier": "auto"}, (None, None)),
        ({"web_search_options": {}}, (None, "web_search_options")),
        ({"prediction": {"type": "content"}}, (None, "prediction")),
        ({"service_tier": "priority"}, (None, "service_tier")),
        ({"tools": [{"type": "function"}, {"type": "web_search"}]}, (None, "tools[1]")),
        ({"tools": [7]}, (None, "tools[0]")),
        ({"audio": {"voice": "x"}, "modalities": ["text", "audio"]}, (None, None)),
        ({"messages": [{"content": "a"}, {"audio": {"id": "x"}}]}, ("messages[1].audio", None)),
        (
            {"messages": [{"content": [{"type": "text"}, {"type": "image_url"}]}]},
            ("messages[0].content[1]", None),
        ),
        ({"messages": [{"content": [{"type": "input_audio"}]}]}, ("messages[0].content[0]", None)),
        ({"messages": [{"content": ["text"]}]}, ("messages[0].content[0]", None)),
    ],
)
def test_what_no_count_of_bytes_bounds(
    fields: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    """A field that costs more than its bytes can say is named, and so is one whose price nothing states."""
    shape = parse(chat(**fields)).shape
    assert expected == (shape.unbounded_input_by, shape.unpriceable)


@pytest.mark.parametrize(
    ("fields", "limit", "expected"),
    [
        ({}, None, {}),
        ({}, 5, {"max_completion_tokens": 5}),
        ({"max_tokens": 9}, 5, {"max_tokens": 5}),
        ({"max_completion_tokens": 9}, 5, {"max_completion_tokens": 5}),
        (
            {"max_tokens": 9, "max_completion_tokens": 7},
            5,
            {"max_tokens": 5, "max_completion_tokens": 5},
        ),
        ({"max_tokens": None}, 5, {"max_tokens": None, "max_completion_tokens": 5}),
        ({"stream": True}, None, {"stream_options": {"include_usage": True}}),
        (
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
            None,
            {"stream_options": {"include_usage": True, "x": 1}},
        ),
    ],
)
def test_the_body_that_is_sent(fields: dict[str, Any], limit: int | None, expected: dict[str, Any]) -> None:
    """It has the upstream's name of the model, the reserved limit, and asks a stream for its usage."""
    body = json.loads(sent(parse(chat(**fields)), limit, "upstream-m"))
    assert {**ASK, **fields, "model": "upstream-m", **expected} == body


@given(st.dictionaries(TEXTS, JSON_VALUES.filter(lambda value: "nan" not in str(value).lower()), max_size=4))
def test_what_is_judged_is_what_is_sent(fields: dict[str, Any]) -> None:
    """Writing the request anew changes nothing but what has to be changed."""
    try:
        request = parse(json.dumps({**fields, **ASK}).encode())
    except CallError:
        return
    expected = {**fields, **ASK, "model": "u"}
    if request.stream:
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    assert expected == json.loads(sent(request, None))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 3}, Usage(units={"input": 5, "output": 3})),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(units={})),
        ({"prompt_tokens": 5}, Usage(units={"input": 5})),
        (
            {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(units={"input": 1, "cache_read": 4, "output": 3}),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
            },
            Usage(units={"cache_read": 2, "cache_write": 3, "output": 3}),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": None}},
            Usage(units={"input": 5, "output": 3}),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": None},
            Usage(units={"input": 5, "output": 3}),
        ),
        (None, None),
        ({}, None),
        ([], None),
        ({"completion_tokens": 3}, None),
        ({"prompt_tokens": 5, "completion_tokens": None}, None),
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ({"prompt_tokens": 5.0, "completion_tokens": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": 2**60, "completion_tokens": 3}, None),
        (
            {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 6}},
            None,
        ),
    ],
)
def test_usage(usage: object, expected: Usage | None) -> None:
    """A usage that makes sense is read, an explicit zero is zero, anything else is none at all."""
    assert expected == chat_usage(usage)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b'{"usage": "\xff"}', b"[" * 5_000, b'"usage"'])
def test_an_upstream_that_talks_nonsense_reports_nothing(raw: bytes) -> None:
    """What cannot be read has no usage, and nothing fails because of it."""
    assert None is DIALECT.usage(raw)
