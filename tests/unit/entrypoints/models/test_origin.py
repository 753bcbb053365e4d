"""What answers say of who made them, in every API's form, whole and streamed, and in forms that none has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.application.commands import Admitted, Moved
from aegis_gateway.application.tracing import AnswerOrigin, CallAsked, SpanNote, Trace
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.entrypoints.data_plane.models.origin import OriginReader, answer_origin

MADE = AnswerOrigin(model="m-2026", id="id-1")
NOTHING = AnswerOrigin()
TOLD: dict[str, Any] = {"id": "id-1", "model": "m-2026"}
WHOLE = {
    "chat": {
        **TOLD,
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "x"}}],
    },
    "responses": {**TOLD, "object": "response", "output": [{"id": "msg_9", "type": "message"}]},
    "messages": {**TOLD, "type": "message", "content": [{"type": "text", "text": "x"}]},
    "gemini": {"responseId": "id-1", "modelVersion": "m-2026", "candidates": []},
    "gemini array": [{"candidates": []}, {"responseId": "id-1", "modelVersion": "m-2026"}],
}
STREAMED: dict[str, list[Any]] = {
    "chat": [{**TOLD, "choices": []}, {**TOLD, "choices": []}],
    "chat at Azure": [{"id": "", "model": "", "choices": []}, {**TOLD, "choices": []}],
    "responses": [{"type": "response.created", "response": TOLD}, {"type": "x", "item_id": "i"}],
    "messages": [{"type": "message_start", "message": TOLD}, {"type": "ping"}],
    "gemini": [{"responseId": "id-1", "modelVersion": "m-2026"}] * 3,
}


class Heard:
    """A span that keeps what it is told of answers."""

    trace: Trace | None = None
    note: SpanNote | None = None

    def __init__(self) -> None:
        self.origins: list[AnswerOrigin] = []

    def answered(self, origin: AnswerOrigin) -> None:
        """Keep it."""
        self.origins.append(origin)

    def asked(self, asked: CallAsked) -> None:
        """Of no interest here, as is the rest."""

    def decided(self, admitted: Admitted) -> None:
        """Nothing."""

    def undecided(self, why: str) -> None:
        """Nothing."""

    def repeated(self, first: str) -> None:
        """Nothing."""

    def handed_over(self) -> None:
        """Nothing."""

    def settled(self, evidence: Evidence, moved: Moved, took_ns: int) -> None:
        """Nothing."""

    def lost(self, why: str, code: str = "in_doubt") -> None:
        """Nothing."""


def events(*chunks: object) -> bytes:
    """A stream."""
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks)


def heard(stream: bytes, step: int) -> list[AnswerOrigin]:
    """What a span hears of a stream that comes in pieces."""
    span = Heard()
    reader = OriginReader(span)
    for begin in range(0, len(stream), step):
        reader.feed(stream[begin : begin + step])
    reader.end()
    reader.end()
    return span.origins


@pytest.mark.parametrize("api", WHOLE)
def test_a_whole_answer(api: str) -> None:
    """The model that made it, and its own id."""
    assert MADE == answer_origin(json.dumps(WHOLE[api]).encode())


@pytest.mark.parametrize("api", STREAMED)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream(api: str, step: int) -> None:
    """The same, told once, in whatever pieces it comes."""
    assert [MADE] == heard(events(*STREAMED[api], "[DONE]"), step)


@pytest.mark.parametrize(
    "said",
    [
        {"id": 5, "model": "m"},
        {"id": "x" * 257, "model": "m\nm"},
        {"id": "\u00e9", "model": {"name": "m"}},
        {"model": None},
        {"response": "text", "id": "id-1"},
        [],
        "text",
        7,
    ],
)
def test_what_is_no_name(said: object) -> None:
    """Isn't told."""
    assert NOTHING == answer_origin(json.dumps(said).encode())


def test_embeddings_have_no_id() -> None:
    """What an answer doesn't say is left out; a stream that says nothing in its first events is left alone."""
    assert AnswerOrigin(model="m") == answer_origin(b'{"object": "list", "data": [], "model": "m"}')
    assert [] == heard(events(*[{"type": "ping"}] * 8, TOLD), 100)
    assert [AnswerOrigin(model="m")] == heard(events({"model": "m"}), 3)


@given(st.binary(max_size=200), st.integers(min_value=1, max_value=50))
def test_whatever_comes_nothing_fails(stream: bytes, step: int) -> None:
    """It passes through here on its way, and is told of elsewhere if it is wrong."""
    assert NOTHING == answer_origin(b"\xff" + stream)
    heard(stream, step)
