"""A shopping agent of Pydantic AI, whose tools Aegis decides for.

What stands in [[…]] is for the bundled provider, which has no mind of its own: it says what the model calls. A real
model does without.
"""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.toolsets import FunctionToolset

from aegis_sdk import run
from aegis_sdk.adapters.pydantic_ai import AegisToolset
from aegis_sdk.adapters.tool_calls import ToolCalls

tools: FunctionToolset[None] = FunctionToolset()


@tools.tool_plain
async def search(query: str) -> dict[str, object]:
    """Search the shop."""
    return {"hits": 3, "best": f"{query} for $80"}


@tools.tool_plain
async def buy(item: str, amount: float) -> str:
    """Buy something."""
    return f"{item} bought for ${amount:.2f}"


aegis = AegisToolset(tools, ToolCalls({"search": "shop.search", "buy": "shop.buy"}))
agent = Agent("openai-chat:gpt-4o-mini", toolsets=[aegis])


async def ask(text: str) -> None:
    """One conversation."""
    print(f"you: {text.partition(' [[')[0]}")
    result = await agent.run(text)
    print(f"agent: {result.output}\n")


async def main() -> None:
    """All of it is one run, on the same budgets."""
    async with run():
        await ask(
            "Find shoes and socks, then buy the shoes. "
            '[[call search {"query": "shoes"}]] [[call search {"query": "socks"}]] '
            '[[then buy {"item": "shoes", "amount": 80}]]'
        )
        await ask('Buy a yacht. [[call buy {"item": "a yacht", "amount": 90000}]]')
        await ask('Buy boots, too. [[call buy {"item": "boots", "amount": 80}]]')


asyncio.run(main())
