"""Redaction keeps its promises on whatever text, however it is cut, nested or keyed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.adapters.redaction import Detectors, TextRedactor
from aegis_gateway.domain.redaction import KINDS, Redaction
from aegis_gateway.entrypoints.data_plane.events import event_data, split
from aegis_gateway.entrypoints.data_plane.models.chat import ChatDialect
from aegis_gateway.entrypoints.data_plane.models.dialect import Dialect
from aegis_gateway.entrypoints.data_plane.models.gemini import GeminiDialect
from aegis_gateway.entrypoints.data_plane.models.messages import MessagesDialect
from aegis_gateway.entrypoints.data_plane.models.redacted_stream import RedactedEvents
from aegis_gateway.entrypoints.data_plane.models.responses import ResponsesDialect
from aegis_gateway.entrypoints.data_plane.redacting import redacted_json, redacted_text
from tests import redaction_corpus as corpus

EVERYTHING = Redaction(kinds=tuple(sorted(KINDS)), fields=("account_code",))
DETECTORS = Detectors(EVERYTHING)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32

MAKERS = (
    corpus.ssn, corpus.dob, corpus.mrn, corpus.name, corpus.email, corpus.phone, corpus.card, corpus.iban, corpus.ip,
    corpus.credential, corpus.password,
)  # fmt: skip
WORDS = (
    *(
        "DOB",
        "MRN:",
        "ssn",
        "phone",
        "password=",
        '"patient_name":"',
        "Bearer",
        "born on",
        "eyJ",
        "sk-",
        "[SSN:",
    ),
    *(
        "\\n",
        "[",
        "]",
        "{",
        "}",
        "\\",
        '"',
        "-",
        ".",
        ":",
        "+",
        "@",
        "é",
        "\u2011",
        "the",
        "and then",
        "0",
        "12",
        "2024",
    ),
)


@st.composite
def values(draw: st.DrawFn) -> str:
    """A value of any kind."""
    return draw(st.sampled_from(MAKERS))(random.Random(draw(st.integers(0, 10_000))))


@st.composite
def sentences(draw: st.DrawFn) -> str:
    """A sentence of the labelled set."""
    chosen = random.Random(draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(corpus.KINDS))
    return corpus.with_value(chosen, kind).text


def texts() -> st.SearchStrategy[str]:
    """Values, what announces them, what looks like them, and anything, run together or apart."""
    piece = (
        values() | sentences() | st.sampled_from(WORDS) | st.text(max_size=8) | st.sampled_from((" ", "\n"))
    )
    return st.lists(piece, max_size=12).map("".join)


@given(texts(), st.data())
def test_chunked_is_whole(text: str, data: st.DataObject) -> None:
    """Wherever a text is cut into pieces, what comes out is what comes out of it whole; and so are the counts."""
    whole = TextRedactor(EVERYTHING, KEY, DETECTORS)
    chunked = TextRedactor(EVERYTHING, KEY, DETECTORS)
    stream = chunked.stream()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert whole.whole(text) == "".join(map(stream.feed, pieces)) + stream.end()
    assert whole.counts == chunked.counts


@given(texts(), st.integers(64, 200), st.data())
def test_chunked_is_whole_where_values_are_too_long(text: str, most: int, data: st.DataObject) -> None:
    """The same where values are longer than any may be, and what is held back is let go."""
    whole = TextRedactor(EVERYTHING, KEY, DETECTORS, most)
    stream = TextRedactor(EVERYTHING, KEY, DETECTORS, most).stream()
    size = data.draw(st.integers(1, 40))
    pieces = [text[place : place + size] for place in range(0, len(text), size)]
    assert whole.whole(text) == "".join(map(stream.feed, pieces)) + stream.end()


@given(st.lists(sentences() | st.sampled_from(("Nothing here.", "1, 2 and 3;")), max_size=8))
def test_redacting_twice_changes_nothing_more(parts: list[str]) -> None:
    """What is redacted has nothing left to redact."""
    once = TextRedactor(EVERYTHING, KEY, DETECTORS).whole("\n".join(parts))
    again = TextRedactor(EVERYTHING, KEY, DETECTORS)
    assert once == again.whole(once)
    assert {} == again.counts


@given(texts())
def test_what_is_not_found_stays(text: str) -> None:
    """A text without tokens' places is the text: all between two tokens stands there as it stood, in its order."""
    redactor = TextRedactor(EVERYTHING, KEY, DETECTORS)
    redacted = redactor.whole(text)
    place = 0
    for part in corpus.without_tokens(redacted, text):
        found = text.find(part, place)
        assert found >= 0
        place = found + len(part)
    if not redactor.counts:
        assert text == redacted


@given(values())
def test_tokens_are_the_tenants(value: str) -> None:
    """The same value gives the same token, and another under another tenant's key."""
    text = f"password={value!r} DOB {value} MRN: {value} {value}"
    once = TextRedactor(EVERYTHING, KEY, DETECTORS).whole(text)
    assert once == TextRedactor(EVERYTHING, KEY, DETECTORS).whole(text)
    other = TextRedactor(EVERYTHING, OTHER_KEY, DETECTORS).whole(text)
    assert (once == text) == (other == once)


def _json() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(0, 9_999) | texts()
    names = st.sampled_from(("a", "b c", "patient_name", "dob", "note", "é"))
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=8,
    )


@given(_json().filter(lambda value: not _has_number_of_a_field(value)), st.sampled_from((None, 1)))
def test_redacted_json_is_json_of_the_same_form(value: Any, indent: int | None) -> None:
    """Nothing but texts changes in JSON, and each by itself; twice is as once."""
    raw = json.dumps(value, indent=indent, ensure_ascii=indent is None).encode()
    redacted = redacted_json(raw, TextRedactor(EVERYTHING, KEY, DETECTORS))
    assert _form(value) == _form(json.loads(redacted))
    if json.loads(redacted) == value:
        assert raw == redacted


def _has_number_of_a_field(value: Any, name: str = "") -> bool:
    is_field = name in ("patient_name", "dob")
    if isinstance(value, dict):
        return any(_has_number_of_a_field(inner, name if is_field else key) for key, inner in value.items())
    if isinstance(value, list):
        return any(_has_number_of_a_field(inner, name) for inner in value)
    return is_field and isinstance(value, int) and not isinstance(value, bool)


def _form(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _form(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_form(inner) for inner in value]
    return "" if isinstance(value, str) else value


def _chat(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def _message(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def _response(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}


def _gemini(text: str) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "content": {"parts": [{"text": text}], "role": "model"}}]}


STREAMS: tuple[tuple[Dialect, Callable[[str], dict[str, Any]], dict[str, Any]], ...] = (
    (ChatDialect(), _chat, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    (MessagesDialect(), _message, {"type": "content_block_stop", "index": 0}),
    (ResponsesDialect(), _response, {"type": "response.completed", "response": {"output": []}}),
    (GeminiDialect("streamGenerateContent"), _gemini, {"candidates": [{"index": 0, "finishReason": "STOP"}]}),
)


@given(texts() | _json().map(json.dumps), st.data(), st.sampled_from(STREAMS))
def test_a_streams_events_are_a_text_whole(text: str, data: st.DataObject, stream: Any) -> None:
    """In each API's events, wherever its text is cut, be it JSON: what the events say is the whole, redacted."""
    dialect, event_of, end = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    events = RedactedEvents(dialect, TextRedactor(EVERYTHING, KEY, DETECTORS))
    shown = b"".join(events.feed(_event(event_of(piece))) for piece in pieces)
    shown += events.end(_event(end))
    told = [json.loads(event_data(event)) for event in split(shown)]
    assert end == told[-1]
    assert redacted_text(text, TextRedactor(EVERYTHING, KEY, DETECTORS)) == "".join(
        part.holder[part.name] for fields in told for part in dialect.streamed(fields)
    )


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"
