"""A bank's MCP server, for real clients: what costs money, what takes a while, what asks, what isn't declared anywhere.

`search` tells in its result how many rows it found. `confirm` asks on either wire in that wire's way.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from tests.mcp_servers import serving
from tests.mcp_servers.asking import MODERN, Answer, Call, Context, content_of, fields, form, required, text

STEPS = 3
STEP_S = 0.05
OK = fields(["ok"], ok={"type": "boolean"})

SCHEMAS: dict[str, dict[str, Any]] = {
    "search": fields(["query"], query={"type": "string"}, limit={"type": "integer"}),
    "transfer": fields(["amount", "to"], amount={"type": "number"}, to={"type": "string"}),
    "report": fields([]),
    "confirm": fields(["question"], question={"type": "string"}),
    "extra": fields([]),
}


async def list_tools(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """All tools."""
    tools = [
        types.Tool(name=name, description=f"{name}, at the bank", input_schema=schema)
        for name, schema in SCHEMAS.items()
    ]
    return types.ListToolsResult(tools=tools)


async def call_tool(context: Context, call: Call) -> Answer:
    """One of them."""
    given = call.arguments or {}
    if call.name == "search":
        found = {"rows": int(given.get("limit", 2)), "query": given["query"]}
        content = types.TextContent(text=json.dumps(found))
        return types.CallToolResult(content=[content], structured_content=found)
    if call.name == "transfer":
        return text(f"moved {given['amount']} to {given['to']}")
    if call.name == "report":
        for step in range(1, STEPS + 1):
            await context.session.report_progress(step, STEPS, f"step {step}")
            await asyncio.sleep(STEP_S)
        return text("the report is written")
    if call.name == "confirm":
        return await _confirm(context, call, str(given["question"]))
    if call.name == "extra":
        return text("it has run")
    raise MCPError(types.INVALID_PARAMS, f"unknown tool `{call.name}`")


async def _confirm(context: Context, call: Call, question: str) -> Answer:
    if context.protocol_version < MODERN:
        given = await context.session.elicit_form(question, OK, context.request_id)
        return text(f"confirmed: {bool((given.content or {}).get('ok'))}")
    answer = content_of(call, "sure")
    if answer is None:
        return required("asked", sure=form(question, OK))
    return text(f"confirmed: {bool(answer.get('ok'))}")


async def list_resources(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    """The one resource."""
    rates = types.Resource(uri="bank://rates", name="rates", mime_type="application/json")
    return types.ListResourcesResult(resources=[rates])


async def read_resource(
    _context: Context, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    """The one resource."""
    if str(params.uri) != "bank://rates":
        raise MCPError(types.INVALID_PARAMS, "resource not found", {"uri": str(params.uri)})
    words = json.dumps({"EUR": "1.08"})
    contents = types.TextResourceContents(uri="bank://rates", mime_type="application/json", text=words)
    return types.ReadResourceResult(contents=[contents])


async def list_prompts(
    _context: Context, _params: types.PaginatedRequestParams | None
) -> types.ListPromptsResult:
    """The one prompt."""
    topic = types.PromptArgument(name="topic", required=True)
    return types.ListPromptsResult(prompts=[types.Prompt(name="brief", arguments=[topic])])


async def get_prompt(_context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """The one prompt."""
    words = types.TextContent(text=f"Be brief about {(params.arguments or {}).get('topic')}.")
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=words)])


def built() -> Server[Any]:
    """The server."""
    return Server(
        "bank",
        version="1.0.0",
        cache_hints={"tools/list": CacheHint(ttl_ms=60_000, scope="public")},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


if __name__ == "__main__":
    serving.run(built())
