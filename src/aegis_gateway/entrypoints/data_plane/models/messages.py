"""Anthropic's Messages, and the counting of their tokens, which is free.

A stream tells usage twice: what the prompt came to at its start, and cumulatively what all came to at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Kind, Usage
from aegis_gateway.domain.quote import HostedUse, ModelShape
from aegis_gateway.domain.registry import Connector, ConnectorKind, Model
from aegis_gateway.entrypoints.data_plane.error_forms import ANTHROPIC
from aegis_gateway.entrypoints.data_plane.models.body import read_body_json
from aegis_gateway.entrypoints.data_plane.models.dialect import (
    CHAT,
    COUNT_TOKENS,
    STRUCTURAL,
    Address,
    Channel,
    ModelRequest,
    StreamedText,
    StreamWatch,
    index_of,
    with_model_and_limit,
)
from aegis_gateway.entrypoints.data_plane.models.reading import (
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

TOOLS_PROMPT_TOKENS = 1_024
"""Where a request has tools the provider adds a prompt of its own, of at most some hundred tokens, and bills it."""

_LIMIT = "max_tokens"
_SEARCHES_MAX = 1_000
_OWN_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_", "tool_search_")
_HOSTED: dict[str, Kind] = {"web_search_": "web_search", "code_execution_": "code_execution"}
_TEXT_BLOCKS = (
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "server_tool_use",
    "web_search_tool_result",
    "search_result",
)
_ELSEWHERE = ("container", "context_management")
_STREAMED = ("text", "thinking", "partial_json")
_PLAIN = {
    "service_tier": (None, "auto", "standard_only"),
    "speed": (None, "standard"),
    "inference_geo": (None, "global"),
}
"""Settings with other prices, and the values at which the plain ones hold."""


CONTENT = Content(
    structural=STRUCTURAL,
    schemas=frozenset(("tools", "tool_choice", "output_format", "output_config")),
    opaque=frozenset(("input", "metadata")),
    unreadable_objects=frozenset(("source",)),
)


class MessagesDialect:
    """`POST /v1/messages`."""

    action = CHAT
    title = "Anthropic Messages"
    kinds: tuple[ConnectorKind, ...] = ("anthropic",)
    errors = ANTHROPIC
    is_free = False
    content = CONTENT
    path = "messages"

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request."""
        body = read_body_json(raw)
        fields = body.fields
        model = model_name(fields)
        messages = listed(fields, "messages")
        if not messages:
            raise CallError("`messages` must be a list with at least one message", field="messages")
        limit = positive(fields, _LIMIT, OUTPUT_TOKENS_MAX)
        stream = flag(fields, "stream")
        tools = listed(fields, "tools")
        hosted, unbounded_tool, unknown_tool = _hosted(fields, tools)
        unbounded_by = next((name for name in _ELSEWHERE if fields.get(name) is not None), unbounded_tool)
        arguments: dict[str, object] = {"stream": stream, "choices": 1, "tools": len(tools)}
        if limit is not None:
            arguments["max_output_tokens"] = limit
        return ModelRequest(
            model=model,
            body=body,
            shape=ModelShape(
                input_bytes=len(raw) + (TOOLS_PROMPT_TOKENS if tools or hosted else 0),
                output_tokens=limit,
                unbounded_input_by=_carried(fields, messages) or unbounded_by,
                unpriceable=_unpriceable(fields) or unknown_tool,
                input_kinds=frozenset(("input_image",)),
                hosted=hosted,
            ),
            stream=stream,
            arguments=arguments,
            summary={"messages": len(messages), "bytes": len(raw), **arguments},
            query=address.query,
        )

    def url(self, connector: Connector, model: Model, request: ModelRequest) -> str:
        """Where the request goes, with what the caller's client put behind it (`?beta=true`)."""
        query = f"?{request.query}" if request.query else ""
        return f"{connector.base_url}/{self.path}{query}"

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send."""
        return request.body.changed(with_model_and_limit(request.body, model, _LIMIT, output_tokens))

    def usage(self, answer: bytes) -> Usage | None:
        """The usage of a whole answer."""
        return messages_usage(parsed_object(answer).get("usage"))

    def watch(self, request: ModelRequest) -> StreamWatch:
        """What reads a stream."""
        return MessagesWatch()

    def streamed(self, event: dict[str, Any]) -> Iterator[StreamedText]:
        """The texts of a block: what it begins with, and its deltas."""
        block = event.get("delta" if event.get("type") == "content_block_delta" else "content_block")
        if not isinstance(block, dict):
            return
        for name, value in block.items():
            if isinstance(value, str) and name in _STREAMED:
                yield StreamedText((index_of(event), name), block, name, is_json=name == "partial_json")

    def ended(self, event: dict[str, Any]) -> Iterator[Channel]:
        """A block ends where that is said; all do with the message."""
        match event.get("type"):
            case "content_block_stop":
                yield (index_of(event),)
            case "message_delta" | "message_stop":
                yield ()


class CountTokensDialect(MessagesDialect):
    """`POST /v1/messages/count_tokens`."""

    action = COUNT_TOKENS
    title = "Anthropic token counting"
    is_free = True
    path = "messages/count_tokens"


class MessagesWatch(EventWatch):
    """Reads a message's stream. What an event tells cumulatively replaces what was told before, name by name."""

    marks = (b'"message_start"', b'"message_delta"', b'"message_stop"')

    def __init__(self) -> None:
        """Start with nothing read."""
        super().__init__()
        self._told: dict[str, Any] = {}
        self._is_counted = False

    def look(self, data: bytes) -> Passing:
        """The start, the counts, or the end."""
        event = parsed_object(data)
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._note(message.get("usage") if isinstance(message, dict) else None)
            case "message_delta":
                self._is_counted = self._note(event.get("usage")) or self._is_counted
                self.usage = messages_usage(self._told) if self._is_counted else None
            case "message_stop":
                return "last"
        return "pass"

    def _note(self, usage: object) -> bool:
        if not isinstance(usage, dict):
            return False
        written = usage.get("cache_creation_input_tokens")
        if written is not None and written != self._told.get("cache_creation_input_tokens"):
            self._told.pop("cache_creation", None)  # how it is split was told of another sum
        self._told.update({name: value for name, value in usage.items() if value is not None})
        return usage.get("output_tokens") is not None


def messages_usage(usage: object) -> Usage | None:
    """Read the `usage` of a message: what is read from the cache or written to it stands beside the input."""
    if not isinstance(usage, Mapping):
        return None
    given, made = required(usage, "input_tokens"), required(usage, "output_tokens")
    written = count(usage, "cache_creation_input_tokens")
    short = count(usage, "cache_creation", "ephemeral_5m_input_tokens")
    long = count(usage, "cache_creation", "ephemeral_1h_input_tokens")
    thought = count(usage, "output_tokens_details", "thinking_tokens")
    if written is None or short is None or long is None or made is None or thought is None or thought > made:
        return None
    if long > written > 0:
        return None
    units: dict[Kind, int | None] = {
        "input": given,
        "cache_read": count(usage, "cache_read_input_tokens"),
        # What is not told to be of the longer kind is of the shorter.
        "cache_write": max(written - long, short),
        "cache_write_1h": long,
        "output": made - thought,
        "reasoning": thought,
        "web_search": count(usage, "server_tool_use", "web_search_requests"),
        "code_execution": count(usage, "server_tool_use", "code_execution_requests"),
    }
    return usage_of(units)


def _carried(fields: Mapping[str, Any], messages: list[Any]) -> str | None:
    """The first block whose tokens no count of bytes bounds."""
    found = _first_odd(fields.get("system"), "system")
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        found = found or _first_odd(record(message, path).get("content"), f"{path}.content")
    return found


def _first_odd(content: object, path: str) -> str | None:
    for place, block in enumerate(content if isinstance(content, list) else ()):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_result":
            found = _first_odd(block.get("content"), f"{path}[{place}].content")
            if found:
                return found
        elif kind not in _TEXT_BLOCKS:
            return f"{path}[{place}]"
    return None


def _hosted(
    fields: Mapping[str, Any], tools: list[Any]
) -> tuple[tuple[HostedUse, ...], str | None, str | None]:
    """The tools that the provider would run, the first that only adds input, the first whose price nothing states."""
    hosted: dict[Kind, HostedUse] = {}
    unbounded: str | None = None
    unknown: str | None = None
    for number, tool in enumerate(tools):
        path = f"tools[{number}]"
        name = str(record(tool, path).get("type") or "custom")
        if name.startswith(_OWN_TOOLS):
            continue
        kind = next((kind for prefix, kind in _HOSTED.items() if name.startswith(prefix)), None)
        if kind is not None:
            most = positive(tool, "max_uses", _SEARCHES_MAX, f"{path}.max_uses")
            hosted.setdefault(kind, HostedUse(kind=kind, field=path, calls_max=most))
        elif name.startswith("web_fetch_"):
            unbounded = unbounded or path
        else:
            unknown = unknown or path
    if fields.get("mcp_servers"):
        hosted["hosted_mcp"] = HostedUse(kind="hosted_mcp", field="mcp_servers", calls_max=None)
    return tuple(hosted.values()), unbounded, unknown


def _unpriceable(fields: Mapping[str, Any]) -> str | None:
    return next((name for name, plain in _PLAIN.items() if fields.get(name) not in plain), None)
