"""The published shapes of OpenAI's chat answers: whole completions, streams of chunks, models.

A stream's chunks differ only in a word, so each is a template encoded once around the words.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from aegis_gateway.demo.upstream.completion import Completion
from aegis_gateway.demo.upstream.draw import Choice, FinishReason, quarters
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


class _Function(msgspec.Struct, omit_defaults=True, gc=False):
    arguments: str
    name: str = ""


class _ToolCall(msgspec.Struct, omit_defaults=True):
    """A call of one of the caller's functions; in a stream its first chunk has an id, all have an index."""

    function: _Function
    id: str = ""
    type: str = ""
    index: int | msgspec.UnsetType = msgspec.UNSET


class _Message(msgspec.Struct, gc=False):
    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: tuple[()] = ()
    tool_calls: list[_ToolCall] | msgspec.UnsetType = msgspec.UNSET


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
    tool_calls: list[_ToolCall] | msgspec.UnsetType = msgspec.UNSET


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
                _Choice(index, _message(envelope, index, choice), choice.finish_reason)
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
    for call in _calls(envelope, index, choice, indexed=True):
        # What is called first, then with which arguments, in pieces.
        yield _event(envelope, [_ChunkChoice(index, _Delta(tool_calls=[call]))], null)
        arguments = choice.calls[int(call.index or 0)].arguments
        for fragment in quarters(arguments):
            part = _ToolCall(_Function(fragment), index=call.index)
            yield _event(envelope, [_ChunkChoice(index, _Delta(tool_calls=[part]))], null)
    template = _event(envelope, [_ChunkChoice(index, _Delta(content=_GAP))], null)
    head, tail = template.split(_GAP.encode())
    for piece in choice.encoded_pieces():
        yield head + piece + tail
    yield _event(envelope, [_ChunkChoice(index, _Delta(), choice.finish_reason)], null)


def _message(envelope: Envelope, index: int, choice: Choice) -> _Message:
    if not choice.calls:
        return _Message(choice.text)
    return _Message(None, tool_calls=_calls(envelope, index, choice))


def _calls(envelope: Envelope, index: int, choice: Choice, *, indexed: bool = False) -> list[_ToolCall]:
    return [
        _ToolCall(
            _Function("" if indexed else call.arguments, call.name),
            id=f"call_{envelope.id[-20:]}{index:02d}{place:02d}",
            type="function",
            index=place if indexed else msgspec.UNSET,
        )
        for place, call in enumerate(choice.calls)
    ]


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
