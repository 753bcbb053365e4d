"""The published shapes of OpenAI's chat answers: whole completions, streams of chunks, models.

A stream's chunks differ only in a word, so each is a template encoded once around the words.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from aegis_gateway.demo.upstream import prose
from aegis_gateway.demo.upstream.completion import Completion
from aegis_gateway.demo.upstream.draw import Choice, FinishReason
from aegis_gateway.demo.upstream.prices import Model
from aegis_gateway.demo.upstream.wire import encode

DONE = b"data: [DONE]\n\n"

# Stands where a chunk's word goes: no field of a chunk can contain it.
_GAP = "@"


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int
    audio_tokens: int = 0


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails
    completion_tokens_details: _CompletionDetails


class _Message(msgspec.Struct, gc=False):
    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: tuple[()] = ()


class _Choice(msgspec.Struct, gc=False):
    index: int
    message: _Message
    finish_reason: FinishReason
    logprobs: None = None


class _Completion(msgspec.Struct, gc=False):
    id: str
    created: int
    model: str
    choices: list[_Choice]
    usage: _Usage | msgspec.UnsetType
    system_fingerprint: str
    object: Literal["chat.completion"] = "chat.completion"
    service_tier: Literal["default"] = "default"


class _Delta(msgspec.Struct, omit_defaults=True):
    role: str = ""
    content: str | None = None
    refusal: msgspec.UnsetType | None = msgspec.UNSET


class _ChunkChoice(msgspec.Struct):
    index: int
    delta: _Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class _Chunk(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[_ChunkChoice]
    usage: _Usage | msgspec.UnsetType | None
    system_fingerprint: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    service_tier: Literal["default"] = "default"


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What all answers to one request carry. ``created`` is in seconds since 1970."""

    id: str
    created: int
    model: str
    fingerprint: str


def whole(envelope: Envelope, completion: Completion, *, report_usage: bool) -> bytes:
    """The JSON of a completion that isn't streamed."""
    return encode(
        _Completion(
            id=envelope.id,
            created=envelope.created,
            model=envelope.model,
            choices=[
                _Choice(index, _Message(prose.text(choice.start, choice.tokens)), choice.finish_reason)
                for index, choice in enumerate(completion.choices)
            ],
            usage=_usage(completion) if report_usage else msgspec.UNSET,
            system_fingerprint=envelope.fingerprint,
        )
    )


def events(envelope: Envelope, completion: Completion, *, include_usage: bool) -> Iterator[bytes]:
    """The server-sent events of a streamed completion: role, words, end of each choice, usage, ``[DONE]``."""
    null = None if include_usage else msgspec.UNSET
    for index, choice in enumerate(completion.choices):
        yield from _choice_events(envelope, index, choice, null)
    if include_usage:
        yield _event(envelope, [], _usage(completion))
    yield DONE


def model_card(model: Model, name: str) -> dict[str, str | int]:
    """A model as ``GET /v1/models`` lists it."""
    return {"id": name, "object": "model", "created": model.created, "owned_by": "system"}


def _choice_events(
    envelope: Envelope, index: int, choice: Choice, null: msgspec.UnsetType | None
) -> Iterator[bytes]:
    opening = _ChunkChoice(index, _Delta(role="assistant", content="", refusal=None))
    yield _event(envelope, [opening], null)
    template = _event(envelope, [_ChunkChoice(index, _Delta(content=_GAP))], null)
    head, tail = template.split(_GAP.encode())
    for piece in prose.pieces(choice.start, choice.tokens):
        yield head + piece + tail
    yield _event(envelope, [_ChunkChoice(index, _Delta(), choice.finish_reason)], null)


def _event(
    envelope: Envelope, choices: list[_ChunkChoice], usage: _Usage | msgspec.UnsetType | None
) -> bytes:
    chunk = _Chunk(envelope.id, envelope.created, envelope.model, choices, usage, envelope.fingerprint)
    return b"data: " + encode(chunk) + b"\n\n"


def _usage(completion: Completion) -> _Usage:
    return _Usage(
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.prompt_tokens + completion.completion_tokens,
        _PromptDetails(completion.cached_tokens, completion.audio_prompt_tokens),
        _CompletionDetails(completion.reasoning_tokens, completion.audio_completion_tokens),
    )
