"""The official client, 2.x, in either of its modes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client
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


async def main(mode: Any) -> None:
    """Do it all."""
    told: dict[str, Any] = {"progress": progress, "asked": asked}
    async with (
        httpx2.AsyncClient(headers=doings.HEADERS, timeout=30) as http,
        Client(
            streamable_http_client(doings.URL, http_client=http), mode=mode, elicitation_callback=answer
        ) as client,
    ):
        told["version"] = client.session.protocol_version
        told["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        found = await client.call_tool(doings.tool("search"), doings.SEARCH)
        told["search"], told["meta"] = found.structured_content, found.meta
        refused = await client.call_tool(doings.tool("transfer"), doings.TOO_MUCH)
        told["refused"], told["is_error"] = doings.text_of(refused), refused.is_error
        await client.call_tool(doings.tool("report"), {}, progress_callback=note)
        confirming = client.call_tool(doings.tool("confirm"), {"question": doings.QUESTION})
        told["confirmed"] = await doings.confirmed(confirming)
        rates = (await client.list_resources()).resources[0].uri
        told["resource"] = (await client.read_resource(rates)).contents[0].text
        prompt = await client.get_prompt(doings.tool(doings.PROMPT), doings.TOPIC)
        told["prompt"] = prompt.messages[0].content.text
    doings.tell(told)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
