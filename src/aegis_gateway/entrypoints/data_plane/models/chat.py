"""OpenAI's Chat Completions, as OpenAI, Azure and many others serve them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Kind, Usage
from aegis_gateway.domain.quote import ModelShape
from aegis_gateway.domain.registry import Connector, ConnectorKind, Model
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI
from aegis_gateway.entrypoints.data_plane.models.body import read_body_json
from aegis_gateway.entrypoints.data_plane.models.dialect import (
    CHAT,
    STRUCTURAL,
    Address,
    Channel,
    ModelRequest,
    StreamedText,
    StreamWatch,
    azure_url,
    index_of,
    with_model,
)
from aegis_gateway.entrypoints.data_plane.models.reading import (
    CHOICES_MAX,
    OUTPUT_TOKENS_MAX,
    count,
    flag,
    listed,
    model_name,
    parsed_object,
    positive,
    record,
    required,
    usage_of,
)
from aegis_gateway.entrypoints.data_plane.models.streams import EventWatch, Passing
from aegis_gateway.entrypoints.data_plane.redacting import Content

_LIMITS = ("max_tokens", "max_completion_tokens")
_OWN_TOOLS = ("function", "custom")
"""Tools that the caller runs; others the provider runs itself, and charges for."""
_TEXT_PARTS = ("text", "refusal")
_UNSTATED = ("web_search_options", "prediction")
"""What is charged for in a way that neither the request bounds nor the answer's usage tells."""

PLAIN_TIERS = (None, "auto", "default")

_USAGE = re.compile(rb'"usage"\s*+:\s*+(?!null)')
_NULL_USAGE = re.compile(rb',"usage"\s*:\s*null')
"""Where usage was asked for every chunk has one, and all but the last have it null. No text can hold this: a
quotation mark within one has a backslash before it."""


CONTENT = Content(
    structural=STRUCTURAL,
    schemas=frozenset(("tools", "functions", "response_format", "tool_choice")),
    opaque=frozenset(("metadata",)),
    typed=frozenset(("arguments",)),
    unreadable=frozenset(("image_url",)),
    unreadable_objects=frozenset(("input_audio", "file", "audio", "logprobs")),
)


class ChatDialect:
    """`POST /v1/chat/completions`."""

    action = CHAT
    title = "OpenAI Chat Completions"
    kinds: tuple[ConnectorKind, ...] = ("openai", "azure")
    errors = OPENAI
    is_free = False
    content = CONTENT

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request; at Azure the model may stand in the address alone."""
        body = read_body_json(raw)
        fields = body.fields
        model = address.model or model_name(fields)
        messages = listed(fields, "messages")
        if not messages:
            raise CallError("`messages` must be a list with at least one message", field="messages")
        given = [limit for name in _LIMITS if (limit := positive(fields, name, OUTPUT_TOKENS_MAX))]
        stream = flag(fields, "stream")
        options = fields.get("stream_options")
        if options is not None:
            record(options, "stream_options")
        choices = positive(fields, "n", CHOICES_MAX) or 1
        unbounded_by, heard = _carried(messages)
        shape = ModelShape(
            input_bytes=len(raw),
            output_tokens=min(given) if given else None,
            choices=choices,
            unbounded_input_by=unbounded_by,
            unpriceable=_unpriceable(fields),
            input_kinds=heard,
            output_kinds=_spoken(fields),
        )
        arguments: dict[str, object] = {
            "stream": stream,
            "choices": choices,
            "tools": len(listed(fields, "tools")),
        }
        if given:
            arguments["max_output_tokens"] = min(given)
        return ModelRequest(
            model=model,
            body=body,
            shape=shape,
            stream=stream,
            hides_usage=stream and not (options and options.get("include_usage")),
            arguments=arguments,
            summary={"messages": len(messages), "bytes": len(raw), **arguments},
        )

    def url(self, connector: Connector, model: Model, request: ModelRequest) -> str:
        """Where the request goes."""
        if connector.kind == "azure":
            return azure_url(connector, model.upstream, "chat/completions")
        return f"{connector.base_url}/chat/completions"

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send."""
        fields = request.body.fields
        changes = with_model(request.body, model)
        if output_tokens is not None:
            named = [name for name in _LIMITS if fields.get(name) is not None] or [_LIMITS[1]]
            changes.update({name: output_tokens for name in named if fields.get(name) != output_tokens})
        if request.hides_usage:
            changes["stream_options"] = {"include_usage": True}
        return request.body.changed(changes)

    def usage(self, answer: bytes) -> Usage | None:
        """The usage of a whole answer."""
        return chat_usage(parsed_object(answer).get("usage"))

    def watch(self, request: ModelRequest) -> StreamWatch:
        """What reads a stream."""
        return ChatWatch(hides_usage=request.hides_usage)

    def streamed(self, event: dict[str, Any]) -> Iterator[StreamedText]:
        """All texts of each choice's delta."""
        for choice in _choices(event):
            yield from _texts_of(choice.get("delta"), (index_of(choice),))

    def ended(self, event: dict[str, Any]) -> Iterator[Channel]:
        """A choice ends where it says why."""
        for choice in _choices(event):
            if choice.get("finish_reason"):
                yield (index_of(choice),)


def _choices(event: dict[str, Any]) -> list[dict[str, Any]]:
    choices = event.get("choices")
    return [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []


def _texts_of(holder: object, channel: Channel) -> Iterator[StreamedText]:
    if not isinstance(holder, dict):
        return
    for name, value in holder.items():
        if isinstance(value, str) and name not in STRUCTURAL:
            yield StreamedText((*channel, name), holder, name, is_json=name == "arguments")
        elif isinstance(value, dict):
            yield from _texts_of(value, (*channel, name))
        elif isinstance(value, list):
            # What has no number of its own doesn't go on in other events.
            for item in value:
                if isinstance(item, dict) and isinstance(item.get("index"), int):
                    yield from _texts_of(item, (*channel, name, item["index"]))


class ChatWatch(EventWatch):
    """Reads a completion's stream. The chunk that carries the usage is hidden from callers who did not ask for it."""

    marks = (b"[DONE]", b'"usage"')

    def __init__(self, *, hides_usage: bool) -> None:
        """Start with nothing read."""
        super().__init__()
        self._hides_usage = hides_usage

    def is_notable(self, events: bytes) -> bool:
        """Whether it ends or tells usage: where that was asked for every chunk has one, most of them null."""
        return b"[DONE]" in events or (b'"usage"' in events and _USAGE.search(events) is not None)

    def passed(self, events: bytes) -> bytes:
        """Without the `usage: null` of every chunk, for those who did not ask."""
        if not self._hides_usage:
            return events
        events = events.replace(b',"usage":null', b"")
        return _NULL_USAGE.sub(b"", events) if b'"usage"' in events else events

    def look(self, data: bytes) -> Passing:
        """Usage, or the end."""
        if data.strip() == b"[DONE]":
            return "last"
        if not _USAGE.search(data):
            return "pass"
        chunk = parsed_object(data)
        usage = chat_usage(chunk.get("usage"))
        if usage is not None:
            self.usage = usage
        return "hide" if self._hides_usage and usage is not None and not chunk.get("choices") else "pass"


def chat_usage(usage: object) -> Usage | None:
    """Read the `usage` of a completion, or of embeddings: what is cached, written or heard is part of the prompt."""
    if not isinstance(usage, Mapping):
        return None
    prompt = required(usage, "prompt_tokens")
    completion = required(usage, "completion_tokens") if "completion_tokens" in usage else 0
    cached = count(usage, "prompt_tokens_details", "cached_tokens")
    written = count(usage, "prompt_tokens_details", "cache_write_tokens")
    heard = count(usage, "prompt_tokens_details", "audio_tokens")
    reasoning = count(usage, "completion_tokens_details", "reasoning_tokens")
    spoken = count(usage, "completion_tokens_details", "audio_tokens")
    if prompt is None or completion is None or cached is None or written is None or heard is None:
        return None
    if reasoning is None or spoken is None or cached + written + heard > prompt:
        return None
    if reasoning and count(usage, "total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # some count what was thought beside what was said
    if reasoning + spoken > completion:
        return None
    units: dict[Kind, int | None] = {
        "input": prompt - cached - written - heard,
        "cache_read": cached,
        "cache_write": written,
        "input_audio": heard,
        "output": completion - reasoning - spoken,
        "reasoning": reasoning,
        "output_audio": spoken,
    }
    return usage_of(units)


def _carried(messages: list[Any]) -> tuple[str | None, frozenset[Kind]]:
    """The first part of the messages whose tokens no count of bytes bounds, and what besides text there is."""
    unbounded_by: str | None = None
    kinds: set[Kind] = set()
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        fields = record(message, path)
        if fields.get("audio") is not None:
            unbounded_by = unbounded_by or f"{path}.audio"
            kinds.add("input_audio")
        content = fields.get("content")
        for place, part in enumerate(content if isinstance(content, list) else ()):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _TEXT_PARTS:
                continue
            unbounded_by = unbounded_by or f"{path}.content[{place}]"
            kinds.add("input_image" if kind == "image_url" else "input_audio")
    return unbounded_by, frozenset(kinds)


def _spoken(fields: Mapping[str, Any]) -> frozenset[Kind]:
    """What besides text the answer may be made of."""
    modalities = fields.get("modalities")
    speaks = modalities is not None and modalities != ["text"]
    kinds: set[Kind] = {"output_audio"} if speaks or fields.get("audio") is not None else set()
    return frozenset(kinds)


def _unpriceable(fields: Mapping[str, Any]) -> str | None:
    """The first field that changes what is charged in a way nothing states."""
    for field in _UNSTATED:
        if fields.get(field) is not None:
            return field
    if fields.get("service_tier") not in PLAIN_TIERS:
        return "service_tier"
    for number, tool in enumerate(listed(fields, "tools")):
        if not isinstance(tool, dict) or tool.get("type") not in _OWN_TOOLS:
            return f"tools[{number}]"
    return None
