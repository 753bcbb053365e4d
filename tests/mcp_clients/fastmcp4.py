"""FastMCP's client, which raises a refusal with its text."""

from __future__ import annotations

import asyncio
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError

from tests.mcp_clients import doings

asked: list[str] = []
progress: list[list[float]] = []


async def answer(message: str, _type: Any, _params: Any, _context: Any) -> dict[str, bool]:
    """Say yes."""
    asked.append(message)
    return {"ok": True}


async def note(done: float, total: float | None, _message: str | None) -> None:
    """Note a step."""
    progress.append([done, total or 0])


async def main() -> None:
    """Do it all."""
    told: dict[str, Any] = {"progress": progress, "asked": asked}
    transport = StreamableHttpTransport(doings.URL, headers=doings.HEADERS)
    async with Client(transport, elicitation_handler=answer) as client:
        told["version"] = client.session.protocol_version
        told["tools"] = [tool.name for tool in await client.list_tools()]
        found = await client.call_tool(doings.tool("search"), doings.SEARCH)
        told["search"], told["meta"] = found.structured_content, found.meta
        try:
            await client.call_tool(doings.tool("transfer"), doings.TOO_MUCH)
        except ToolError as error:
            told["refused"], told["is_error"] = str(error), True
        await client.call_tool(doings.tool("report"), {}, progress_handler=note)
        confirming = client.call_tool(doings.tool("confirm"), {"question": doings.QUESTION})
        told["confirmed"] = await doings.confirmed(confirming)
        rates = (await client.list_resources())[0].uri
        told["resource"] = (await client.read_resource(rates))[0].text
        prompt = await client.get_prompt(doings.tool(doings.PROMPT), doings.TOPIC)
        told["prompt"] = prompt.messages[0].content.text
    doings.tell(told)


if __name__ == "__main__":
    asyncio.run(main())
