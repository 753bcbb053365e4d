"""A shopping agent of the Claude Agent SDK, whose tools Aegis decides for.

What stands in [[…]] is for the bundled provider, which has no mind of its own: it says what the model calls. A real
model does without.
"""

import asyncio
import json
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    TextBlock,
    create_sdk_mcp_server,
    tool,
)

from aegis_sdk import run
from aegis_sdk.adapters.claude_agent import AegisHooks


def text(value: str) -> dict[str, Any]:
    """What a tool answers."""
    return {"content": [{"type": "text", "text": value}]}


@tool("search", "Search the shop", {"query": str})
async def search(arguments: dict[str, Any]) -> dict[str, Any]:
    """Search the shop."""
    return text(json.dumps({"hits": 3, "best": f"{arguments['query']} for $80"}))


@tool("buy", "Buy something", {"item": str, "amount": float})
async def buy(arguments: dict[str, Any]) -> dict[str, Any]:
    """Buy something."""
    return text(f"{arguments['item']} bought for ${arguments['amount']:.2f}")


aegis = AegisHooks({"mcp__shop__search": "shop.search", "mcp__shop__buy": "shop.buy"})
options = ClaudeAgentOptions(
    model="claude-haiku-4-5",
    system_prompt="You buy what the office needs.",
    mcp_servers={"shop": create_sdk_mcp_server("shop", tools=[search, buy])},
    allowed_tools=["mcp__shop__search", "mcp__shop__buy"],
    tools=[],  # none of Claude Code's own
    setting_sources=[],
    hooks=aegis.hooks(),
)


async def ask(client: ClaudeSDKClient, prompt: str) -> None:
    """One request, and the last thing that the model says to it."""
    print(f"you: {prompt.partition(' [[')[0]}")
    await client.query(prompt)
    said = ""
    async for message in client.receive_response():
        if isinstance(message, AssistantMessage):
            said = next((block.text for block in message.content if isinstance(block, TextBlock)), said)
    print(f"agent: {said.partition('<system-reminder>')[0].rstrip()}\n")


async def main() -> None:
    """One session, and all of it one run, on the same budgets."""
    async with run(), ClaudeSDKClient(options) as client:
        await ask(client, 'Find shoes. [[call mcp__shop__search {"query": "shoes"}]]')
        await ask(client, 'Buy them. [[call mcp__shop__buy {"item": "shoes", "amount": 80}]]')
        await ask(client, 'Buy a yacht. [[call mcp__shop__buy {"item": "a yacht", "amount": 90000}]]')
        await ask(client, 'Buy boots, too. [[call mcp__shop__buy {"item": "boots", "amount": 80}]]')


asyncio.run(main())
