"""Sessions of the Claude Agent SDK, whose tools Aegis decides for. The agent is the program that comes with the SDK."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    TextBlock,
    ToolAnnotations,
    create_sdk_mcp_server,
    tool,
)

from aegis_sdk import run
from aegis_sdk.adapters.claude_agent import AegisHooks
from tests.frameworks import desk

SERVER = "mcp__desk__"
_ORDER = re.compile(r"\[\[(call|then) (\w+)")


def served(name: str, function: Callable[..., Any]) -> Any:
    """A function as a tool of a server in this process, which answers in JSON."""
    kinds = {parameter: kind for parameter, kind in function.__annotations__.items() if parameter != "return"}
    types = {"int": int, "float": float, "str": str}

    # Calls of tools that change something are made one after the other.
    hints = ToolAnnotations(readOnlyHint=name == "meet")

    @tool(name, function.__doc__ or "", {parameter: types[kind] for parameter, kind in kinds.items()}, hints)
    async def called(arguments: dict[str, Any]) -> dict[str, Any]:
        given = function(**arguments)
        value = await given if asyncio.iscoroutine(given) else given
        text = value if isinstance(value, str) else json.dumps(value)
        return {"content": [{"type": "text", "text": text}]}

    return called


def options() -> ClaudeAgentOptions:
    """A session with all tools, and none of the program's own."""
    functions: dict[str, Callable[..., Any]] = {**desk.TOOLS, "meet": desk.meet_async}
    server = create_sdk_mcp_server("desk", tools=[served(name, each) for name, each in functions.items()])
    aegis = AegisHooks({SERVER + name: tool for name, tool in desk.MAPPED.items()})
    return ClaudeAgentOptions(
        model="claude-haiku-4-5",
        system_prompt="You do as you are told.",
        mcp_servers={"desk": server},
        allowed_tools=[SERVER + name for name in functions],
        tools=[],
        setting_sources=[],
        hooks=aegis.hooks(),
    )


async def said(client: ClaudeSDKClient, prompt: str) -> str:
    """What the model said last."""
    await client.query(_ORDER.sub(rf"[[\1 {SERVER}\2", prompt))
    text = ""
    async for message in client.receive_response():
        if isinstance(message, AssistantMessage):
            text = "".join(block.text for block in message.content if isinstance(block, TextBlock)) or text
    return text


async def asked() -> dict[str, Any]:
    """Each prompt, in one session."""
    found: dict[str, Any] = {}
    more = {"broken": desk.BROKEN, "risky": desk.RISKY, "unmapped": desk.UNMAPPED}
    async with run() as session:
        async with ClaudeSDKClient(options()) as client:
            for name, prompt in {**desk.PROMPTS, **more}.items():
                found[name] = await said(client, prompt)
        found["run"] = session.id
    return found


if __name__ == "__main__":
    with desk.traced():
        desk.said(**asyncio.run(asked()))
