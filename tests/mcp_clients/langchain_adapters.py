"""LangChain's adapters, through which LangGraph's agents call tools: a refusal is a message that the model reads."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import types

from tests.mcp_clients import doings

asked: list[str] = []
progress: list[list[float]] = []


async def answer(_mcp: Any, params: Any, _context: Any) -> types.ElicitResult:
    """Say yes."""
    asked.append(params.message)
    return types.ElicitResult(action="accept", content={"ok": True})


async def note(done: float, total: float | None, _message: str | None, _context: Any) -> None:
    """Note a step."""
    progress.append([done, total or 0])


async def main() -> None:
    """Do it all."""
    told: dict[str, Any] = {"progress": progress, "asked": asked}
    callbacks = Callbacks(on_progress=note, on_elicitation=answer)
    connection = {"transport": "streamable_http", "url": doings.URL, "headers": doings.HEADERS}
    client = MultiServerMCPClient({"bank": connection}, callbacks=callbacks)
    async with client.session("bank") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session, callbacks=callbacks)}
        told["tools"] = list(tools)

        async def call(name: str, arguments: dict[str, Any]) -> Any:
            """As a tool node calls a tool: the answer is the message for the model."""
            name = doings.tool(name)
            return await tools[name].ainvoke(
                {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
            )

        found = await call("search", doings.SEARCH)
        told["search"] = found.artifact["structured_content"]
        refused = await call("transfer", doings.TOO_MUCH)
        told["refused"], told["is_error"] = doings.text_of(refused), refused.status == "error"
        await call("report", {})
        told["confirmed"] = await doings.confirmed(call("confirm", {"question": doings.QUESTION}))
    resources = await client.get_resources("bank")
    told["resource"] = resources[0].as_string()
    prompt = await client.get_prompt("bank", doings.tool(doings.PROMPT), arguments=doings.TOPIC)
    told["prompt"] = prompt[0].content
    doings.tell(told)


if __name__ == "__main__":
    asyncio.run(main())
