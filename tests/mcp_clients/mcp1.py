"""The official client, 1.x."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

from tests.mcp_clients import doings

asked: list[str] = []
progress: list[list[float]] = []


async def answer(_context: Any, params: Any) -> types.ElicitResult:
    """Say yes."""
    asked.append(params.message)
    return types.ElicitResult(action="accept", content={"ok": True})


async def note(done: float, total: float | None, _message: str | None) -> None:
    """Note a step."""
    progress.append([done, total or 0])


async def main() -> None:
    """Do it all."""
    told: dict[str, Any] = {"progress": progress, "asked": asked}
    async with (
        httpx.AsyncClient(headers=doings.HEADERS, timeout=30) as http,
        streamable_http_client(doings.URL, http_client=http) as (incoming, outgoing, _),
        ClientSession(incoming, outgoing, elicitation_callback=answer) as session,
    ):
        told["version"] = (await session.initialize()).protocolVersion
        told["tools"] = [tool.name for tool in (await session.list_tools()).tools]
        found = await session.call_tool(doings.tool("search"), doings.SEARCH)
        told["search"], told["meta"] = found.structuredContent, found.meta
        refused = await session.call_tool(doings.tool("transfer"), doings.TOO_MUCH)
        told["refused"], told["is_error"] = doings.text_of(refused), refused.isError
        await session.call_tool(doings.tool("report"), {}, progress_callback=note)
        confirming = session.call_tool(doings.tool("confirm"), {"question": doings.QUESTION})
        told["confirmed"] = await doings.confirmed(confirming)
        rates = (await session.list_resources()).resources[0].uri
        told["resource"] = (await session.read_resource(rates)).contents[0].text
        prompt = await session.get_prompt(doings.tool(doings.PROMPT), doings.TOPIC)
        told["prompt"] = prompt.messages[0].content.text
    doings.tell(told)


if __name__ == "__main__":
    asyncio.run(main())
