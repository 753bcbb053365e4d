"""OpenAI's Responses: the answer's usage stands in the response, or in a stream's terminal event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Kind, Usage
from aegis_gateway.domain.quote import HostedUse, ModelShape
from aegis_gateway.domain.registry import Connector, ConnectorKind, Model
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI
from aegis_gateway.entrypoints.data_plane.models.body import read_body_json
from aegis_gateway.entrypoints.data_plane.models.chat import PLAIN_TIERS
from aegis_gateway.entrypoints.data_plane.models.dialect import (
    CHAT,
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

_LIMIT = "max_output_tokens"
_TOOL_CALLS_MAX = 1_000

_OWN_TOOLS = ("function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview")
"""Tools that the caller runs. Others the provider runs itself."""

_HOSTED: dict[str, Kind] = {
    "web_search": "web_search",
    "file_search": "file_search",
    "code_interpreter": "code_execution",
    "mcp": "hosted_mcp",
}
"""Tools that the provider runs, by the beginning of their type (`web_search_preview_2025_03_11`)."""

_TEXT_PARTS = ("input_text", "output_text", "refusal", "summary_text", "reasoning_text", "text")
_TEXT_ITEMS = ("message", "function_call", "custom_tool_call", "reasoning", "web_search_call")
_ANSWERED_ITEMS = ("function_call_output", "custom_tool_call_output")
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""What brings input along that stands at the provider."""

TERMINAL = ("response.completed", "response.incomplete", "response.failed")


CONTENT = Content(
    structural=STRUCTURAL,
    schemas=frozenset(("tools", "tool_choice", "format")),
    opaque=frozenset(("metadata",)),
    typed=frozenset(("arguments",)),
    unreadable=frozenset(("image_url", "file_data", "file_id", "file_url", "result", "partial_image_b64")),
    unreadable_objects=frozenset(("input_audio", "logprobs")),
)


class ResponsesDialect:
    """`POST /v1/responses`."""

    action = CHAT
    title = "OpenAI Responses"
    kinds: tuple[ConnectorKind, ...] = ("openai", "azure")
    errors = OPENAI
    is_free = False
    content = CONTENT

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request."""
        body = read_body_json(raw)
        fields = body.fields
        if flag(fields, "background"):
            raise CallError(
                "`background` responses cannot be accounted for; leave it out and stream instead",
                field="background",
            )
        given = fields.get("input")
        if given is not None and not isinstance(given, str | list):
            raise CallError("`input` must be a text or a list of items", field="input")
        limit = positive(fields, _LIMIT, OUTPUT_TOKENS_MAX)
        stream = flag(fields, "stream")
        unbounded_by, kinds = _carried(given if isinstance(given, list) else [])
        unbounded_by = next((name for name in _ELSEWHERE if fields.get(name) is not None), unbounded_by)
        hosted, unknown_tool = _hosted(fields)
        unpriceable = unknown_tool
        if fields.get("service_tier") not in PLAIN_TIERS:
            unpriceable = "service_tier"
        arguments: dict[str, object] = {
            "stream": stream,
            "choices": 1,
            "tools": len(listed(fields, "tools")),
        }
        if limit is not None:
            arguments["max_output_tokens"] = limit
        return ModelRequest(
            model=model_name(fields),
            body=body,
            shape=ModelShape(
                input_bytes=len(raw),
                output_tokens=limit,
                unbounded_input_by=unbounded_by,
                unpriceable=unpriceable,
                input_kinds=kinds,
                hosted=hosted,
            ),
            stream=stream,
            arguments=arguments,
            summary={
                "items": len(given) if isinstance(given, list) else 1,
                "bytes": len(raw),
                **arguments,
            },
        )

    def url(self, connector: Connector, model: Model, request: ModelRequest) -> str:
        """Where the request goes; at Azure the deployment stands in the body."""
        if connector.kind == "azure":
            return f"{connector.base_url}/openai/responses?api-version={connector.api_version}"
        return f"{connector.base_url}/responses"

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send."""
        return request.body.changed(with_model_and_limit(request.body, model, _LIMIT, output_tokens))

    def usage(self, answer: bytes) -> Usage | None:
        """The usage of a whole answer."""
        return response_usage(parsed_object(answer))

    def watch(self, request: ModelRequest) -> StreamWatch:
        """What reads a stream."""
        return ResponsesWatch()

    def streamed(self, event: dict[str, Any]) -> Iterator[StreamedText]:
        """The delta of an event that has one."""
        kind, _, is_delta = str(event.get("type")).rpartition(".")
        if is_delta == "delta" and isinstance(event.get("delta"), str):
            yield StreamedText(_channel(kind, event), event, "delta", is_json="arguments" in kind)

    def ended(self, event: dict[str, Any]) -> Iterator[Channel]:
        """A text ends where that is said; all do with the response."""
        kind, _, is_done = str(event.get("type")).rpartition(".")
        if is_done == "done":
            yield _channel(kind, event)
        elif event.get("type") in TERMINAL:
            yield ()


def _channel(kind: str, event: dict[str, Any]) -> Channel:
    return (kind, *(index_of(event, name) for name in ("output_index", "content_index", "summary_index")))


class ResponsesWatch(EventWatch):
    """Reads a response's stream, whose terminal event carries the whole response."""

    marks = (b"response.completed", b"response.incomplete", b"response.failed")

    def look(self, data: bytes) -> Passing:
        """The terminal event, or one that only speaks of it."""
        event = parsed_object(data)
        if event.get("type") not in TERMINAL:
            return "pass"
        response = event.get("response")
        self.usage = response_usage(response) if isinstance(response, dict) else None
        return "last"


def response_usage(response: Mapping[str, Any]) -> Usage | None:
    """The usage of a response: tokens as counted, and calls of hosted tools as they stand in its output."""
    usage = response.get("usage")
    if not isinstance(usage, Mapping):
        return None
    given, made = required(usage, "input_tokens"), required(usage, "output_tokens")
    cached = count(usage, "input_tokens_details", "cached_tokens")
    written = count(usage, "input_tokens_details", "cache_write_tokens")
    reasoning = count(usage, "output_tokens_details", "reasoning_tokens")
    if given is None or made is None or cached is None or written is None or reasoning is None:
        return None
    if cached + written > given or reasoning > made:
        return None
    output = response.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    units: dict[Kind, int | None] = {
        "input": given - cached - written,
        "cache_read": cached,
        "cache_write": written,
        "output": made - reasoning,
        "reasoning": reasoning,
        **_hosted_calls(items),
    }
    return usage_of(units)


def _hosted_calls(items: list[dict[str, Any]]) -> dict[Kind, int | None]:
    """Searches, not the pages opened after them; sessions of the interpreter, not what ran in them."""
    kinds = [item.get("type") for item in items]
    searches = [item for item in items if item.get("type") == "web_search_call" and _searches(item)]
    sessions = {
        item.get("container_id") or number
        for number, item in enumerate(items)
        if item.get("type") == "code_interpreter_call"
    }
    return {
        "web_search": len(searches),
        "file_search": kinds.count("file_search_call"),
        "code_execution": len(sessions),
        "hosted_mcp": kinds.count("mcp_call"),
    }


def _searches(item: Mapping[str, Any]) -> bool:
    action = item.get("action")
    return not isinstance(action, dict) or action.get("type", "search") == "search"


def _carried(items: list[Any]) -> tuple[str | None, frozenset[Kind]]:
    """The first item whose tokens no count of bytes bounds, and what besides text there is."""
    unbounded_by: str | None = None
    kinds: set[Kind] = set()
    for number, item in enumerate(items):
        path = f"input[{number}]"
        fields = record(item, path)
        kind = fields.get("type", "message")
        content = fields.get("output" if kind in _ANSWERED_ITEMS else "content")
        if kind not in _TEXT_ITEMS + _ANSWERED_ITEMS:
            unbounded_by = unbounded_by or path
        for place, part in enumerate(content if isinstance(content, list) else ()):
            part_kind = part.get("type") if isinstance(part, dict) else None
            if part_kind in _TEXT_PARTS:
                continue
            unbounded_by = unbounded_by or f"{path}.content[{place}]"
            kinds.add("input_audio" if part_kind == "input_audio" else "input_image")
    return unbounded_by, frozenset(kinds)


def _hosted(fields: Mapping[str, Any]) -> tuple[tuple[HostedUse, ...], str | None]:
    """The tools that the provider would run, and the first whose price nothing states."""
    most = positive(fields, "max_tool_calls", _TOOL_CALLS_MAX)
    hosted: dict[Kind, HostedUse] = {}
    unknown: str | None = None
    for number, tool in enumerate(listed(fields, "tools")):
        name = str(record(tool, f"tools[{number}]").get("type"))
        if name in _OWN_TOOLS:
            continue
        kind = next((kind for prefix, kind in _HOSTED.items() if name.startswith(prefix)), None)
        if kind is None:
            unknown = unknown or f"tools[{number}]"
        else:
            hosted.setdefault(kind, HostedUse(kind=kind, field=f"tools[{number}]", calls_max=most))
    return tuple(hosted.values()), unknown
