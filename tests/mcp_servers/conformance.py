"""An MCP server with what the conformance suite asks for: its tools, resources and prompts, on both wires.

What each of them has to do is in the suite's own descriptions of its scenarios.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventStore
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.mcp_servers import asking, pictures, serving
from tests.mcp_servers.asking import Answer, Call, Context, text

NAME = "conformance-fixture"
STEP_S = 0.05
RETRY_MS = 200

Tool: TypeAlias = Callable[[Context, Call], Awaitable[Answer]]

bus = InMemorySubscriptionBus()

JSON_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


def _picture() -> types.ImageContent:
    return types.ImageContent(data=pictures.red_pixel(), mime_type="image/png")


def _embedded(uri: str, mime_type: str, words: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=words)
    return types.EmbeddedResource(resource=resource)


# -- tools -----------------------------------------------------------------------------------------------------


def _gives(*content: Any) -> Tool:
    async def tool(_context: Context, _call: Call) -> Answer:
        return types.CallToolResult(content=list(content))

    return tool


async def fails(_context: Context, _call: Call) -> Answer:
    """An error of the tool's own."""
    words = types.TextContent(text="This tool intentionally returns an error for testing")
    return types.CallToolResult(content=[words], is_error=True)


async def logs(context: Context, _call: Call) -> Answer:
    """Three notes on the way, to whoever wants them."""
    for note in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.session.send_log_message("info", note, related_request_id=context.request_id)
        await asyncio.sleep(STEP_S)
    return text("the tool has run, with its notes")


async def progresses(context: Context, _call: Call) -> Answer:
    """Tells how far it is."""
    for done in (0, 50, 100):
        await context.session.report_progress(done, 100)
        await asyncio.sleep(STEP_S)
    return text("the tool has run, in three steps")


async def breaks_off(context: Context, _call: Call) -> Answer:
    """Closes the stream in the middle of the call: the caller has to come back for the answer."""
    if context.close_sse_stream is not None:
        await context.close_sse_stream()
        await asyncio.sleep(2 * STEP_S)
    return text("the stream was closed, and the answer found")


async def changes_tools(_context: Context, _call: Call) -> Answer:
    """As if the list of tools had changed."""
    await bus.publish(ToolsListChanged())
    return text("told")


async def changes_prompts(_context: Context, _call: Call) -> Answer:
    """As if the list of prompts had changed."""
    await bus.publish(PromptsListChanged())
    return text("told")


async def echoes(_context: Context, call: Call) -> Answer:
    """What it was called with."""
    return text(json.dumps(call.arguments))


TOOLS: Mapping[str, tuple[Tool, dict[str, Any]]] = {
    "test_simple_text": (
        _gives(types.TextContent(text="This is a simple text response for testing.")),
        NOTHING,
    ),
    "test_image_content": (_gives(_picture()), NOTHING),
    "test_audio_content": (
        _gives(types.AudioContent(data=pictures.silence(), mime_type="audio/wav")),
        NOTHING,
    ),
    "test_embedded_resource": (
        _gives(_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")),
        NOTHING,
    ),
    "test_multiple_content_types": (
        _gives(
            types.TextContent(text="Multiple content types test:"),
            _picture(),
            _embedded(
                "test://mixed-content-resource",
                "application/json",
                json.dumps({"test": "data", "value": 123}),
            ),
        ),
        NOTHING,
    ),
    "test_error_handling": (fails, NOTHING),
    "test_tool_with_logging": (logs, NOTHING),
    "test_logging_tool": (logs, NOTHING),
    "test_tool_with_progress": (progresses, NOTHING),
    "test_reconnection": (breaks_off, NOTHING),
    "test_trigger_tool_change": (changes_tools, NOTHING),
    "test_trigger_prompt_change": (changes_prompts, NOTHING),
    "json_schema_2020_12_tool": (echoes, JSON_SCHEMA),
    "test_header_parameter": (
        echoes,
        asking.fields(["region"], region={"type": "string", "x-mcp-header": "Region"}),
    ),
    "test_sampling": (asking.ask_model, asking.fields(["prompt"], prompt={"type": "string"})),
    "test_elicitation": (asking.ask_person, asking.fields(["message"], message={"type": "string"})),
    "test_elicitation_sep1034_defaults": (asking.ask_with_defaults, NOTHING),
    "test_elicitation_sep1330_enums": (asking.ask_with_choices, NOTHING),
    "test_missing_capability": (asking.needs_sampling, NOTHING),
    "test_streaming_elicitation": (asking.name_once, NOTHING),
    "test_input_required_result_elicitation": (asking.name_once, NOTHING),
    "test_input_required_result_sampling": (asking.capital, NOTHING),
    "test_input_required_result_list_roots": (asking.roots, NOTHING),
    "test_input_required_result_request_state": (asking.with_state, NOTHING),
    "test_input_required_result_tampered_state": (asking.with_state, NOTHING),
    "test_input_required_result_multiple_inputs": (asking.three_at_once, NOTHING),
    "test_input_required_result_multi_round": (asking.two_rounds, NOTHING),
    "test_input_required_result_capabilities": (asking.what_the_client_can, NOTHING),
}


async def list_tools(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """All tools, in one order."""
    tools = [
        types.Tool(
            name=name, description=(tool.__doc__ or f"`{name}` of the suite").strip(), input_schema=schema
        )
        for name, (tool, schema) in TOOLS.items()
    ]
    return types.ListToolsResult(tools=tools)


async def call_tool(context: Context, call: Call) -> Answer:
    """One of them."""
    if call.name not in TOOLS:
        raise MCPError(types.INVALID_PARAMS, f"unknown tool `{call.name}`")
    return await TOOLS[call.name][0](context, call)


# -- resources, prompts, completion ----------------------------------------------------------------------------

RESOURCES: Mapping[str, tuple[str, str]] = {
    "test://static-text": ("text/plain", "This is the content of the static text resource."),
    "test://static-binary": ("image/png", ""),
    "test://watched-resource": ("text/plain", "This resource may be watched."),
}
_BEFORE, _AFTER = "test://template/", "/data"


async def list_resources(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    """All that stand for themselves."""
    listed = [
        types.Resource(
            uri=uri, name=uri.rpartition("/")[2], description=f"`{uri}` of the suite", mime_type=kind
        )
        for uri, (kind, _) in RESOURCES.items()
    ]
    return types.ListResourcesResult(resources=listed)


async def list_templates(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    """The one that stands for many."""
    template = types.ResourceTemplate(
        uri_template=f"{_BEFORE}{{id}}{_AFTER}", name="template", mime_type="application/json"
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(
    _context: Context, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    """One of them."""
    uri = str(params.uri)
    contents: types.TextResourceContents | types.BlobResourceContents
    if uri.startswith(_BEFORE) and uri.endswith(_AFTER):
        number = uri[len(_BEFORE) : -len(_AFTER)]
        words = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=words)
    elif uri not in RESOURCES:
        raise MCPError(types.INVALID_PARAMS, "resource not found", {"uri": uri})
    elif uri == "test://static-binary":
        contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=pictures.red_pixel())
    else:
        kind, words = RESOURCES[uri]
        contents = types.TextResourceContents(uri=uri, mime_type=kind, text=words)
    return types.ReadResourceResult(contents=[contents])


async def watch(_context: Context, _params: Any) -> types.EmptyResult:
    """Take note of who wants to hear of a resource, or doesn't any more."""
    return types.EmptyResult()


PROMPTS: Mapping[str, tuple[str, ...]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


async def list_prompts(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListPromptsResult:
    """All prompts."""
    listed = [
        types.Prompt(
            name=name,
            description=f"`{name}` of the suite",
            arguments=[types.PromptArgument(name=each, required=True) for each in arguments],
        )
        for name, arguments in PROMPTS.items()
    ]
    return types.ListPromptsResult(prompts=listed)


async def get_prompt(_context: Context, params: types.GetPromptRequestParams) -> Any:
    """One of them."""
    given = params.arguments or {}
    content: list[Any]
    if params.name == "test_simple_prompt":
        content = [types.TextContent(text="This is a simple prompt for testing.")]
    elif params.name == "test_prompt_with_arguments":
        words = f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"
        content = [types.TextContent(text=words)]
    elif params.name == "test_prompt_with_embedded_resource":
        resource = _embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing.")
        content = [resource, types.TextContent(text="Please process the embedded resource above.")]
    elif params.name == "test_prompt_with_image":
        content = [_picture(), types.TextContent(text="Please analyze the image above.")]
    elif params.name == "test_input_required_result_prompt":
        return await asking.prompt_with_context(params)
    else:
        raise MCPError(types.INVALID_PARAMS, f"unknown prompt `{params.name}`")
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=each) for each in content]
    )


async def complete(_context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    """What an argument may go on with."""
    known = ("paris", "park", "party", "test")
    values = [each for each in known if each.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


class Events(EventStore):  # type: ignore[misc] # the package isn't in the environment that types are checked in
    """What was sent on streams, so that whoever lost one can come back for the rest."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._sent: dict[str, tuple[str, Any]] = {}

    async def store_event(self, stream_id: str, message: Any) -> str:
        """Keep it under a new number."""
        number = str(next(self._numbers))
        self._sent[number] = (stream_id, message)
        return number

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        """Send again what came after it on its stream."""
        from mcp.server.streamable_http import EventMessage

        if last_event_id not in self._sent:
            return None
        stream = self._sent[last_event_id][0]
        for number, (of_stream, message) in list(self._sent.items()):
            if of_stream == stream and int(number) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, number))
        return stream


def built() -> Server[Any]:
    """The server."""
    hint = CacheHint(ttl_ms=1_000, scope="public")
    cacheable = ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", MCPDeprecationWarning
        )  # the older wire has these, and so has the suite
        server: Server[Any] = Server(
            NAME,
            version="1.0.0",
            cache_hints=dict.fromkeys(cacheable, hint),
            get_tool_input_schema=lambda name: TOOLS[name][1] if name in TOOLS else None,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
            on_list_resources=list_resources,
            on_list_resource_templates=list_templates,
            on_read_resource=read_resource,
            on_subscribe_resource=watch,
            on_unsubscribe_resource=watch,
            on_subscriptions_listen=ListenHandler(bus),
            on_list_prompts=list_prompts,
            on_get_prompt=get_prompt,
            on_completion=complete,
            on_set_logging_level=watch,
        )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    serving.run(built(), event_store=Events(), retry_interval=RETRY_MS)
