"""The official client, 2.x, at calls that wait for a person's word: where it is sent, and what comes of each.

`MCP_CALLS` are the calls, as JSON, each made by a client of its own: to whom (`to`), in which `mode`, what somebody
answers who is sent to a page (`answers`; nobody is where there is none), and the address of whoever agrees meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.mcp_clients import doings


async def called(to: str, mode: str, answers: str = "", agrees: str = "") -> dict[str, Any]:
    """One call, and what came of it."""
    asked: list[str] = []

    async def answer(_context: Any, params: Any) -> types.ElicitResult:
        asked.append(params.url)
        if agrees:
            await asyncio.to_thread(lambda: urllib.request.urlopen(agrees).read())
        return types.ElicitResult(action=answers)

    can = {"elicitation_callback": answer} if answers else {}
    async with (
        httpx2.AsyncClient(headers=doings.HEADERS, timeout=30) as http,
        Client(streamable_http_client(doings.URL, http_client=http), mode=mode, **can) as client,
    ):
        try:
            result = await client.call_tool("transfer", {"amount": 7000, "to": to})
        except MCPError as error:
            return {"asked": asked, "code": error.error.code, "data": error.error.data}
    return {"asked": asked, "text": doings.text_of(result), "is_error": bool(result.is_error)}


async def main() -> None:
    """Make them all."""
    told = [await called(**each) for each in json.loads(os.environ["MCP_CALLS"])]
    doings.tell({"calls": told})


if __name__ == "__main__":
    asyncio.run(main())
