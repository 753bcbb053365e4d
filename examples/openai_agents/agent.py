"""A shopping agent of the OpenAI Agents SDK, whose tools Aegis decides for.

What stands in [[…]] is for the bundled provider, which has no mind of its own: it says what the model calls. A real
model does without.
"""

import asyncio

from agents import Agent, Runner, function_tool, set_tracing_disabled

from aegis_sdk import run
from aegis_sdk.adapters.openai_agents import AegisTools


@function_tool
def search(query: str) -> dict[str, object]:
    """Search the shop."""
    return {"hits": 3, "best": f"{query} for $80"}


@function_tool
async def buy(item: str, amount: float) -> str:
    """Buy something."""
    return f"{item} bought for ${amount:.2f}"


aegis = AegisTools({"search": "shop.search", "buy": "shop.buy"})
agent = Agent(name="shopper", model="gpt-4o-mini", tools=aegis.guarded([search, buy]))


async def ask(text: str) -> None:
    """One conversation."""
    print(f"you: {text.partition(' [[')[0]}")
    result = await Runner.run(agent, text)
    print(f"agent: {result.final_output}\n")


async def main() -> None:
    """All of it is one run, on the same budgets."""
    set_tracing_disabled(True)  # traces would go to OpenAI
    async with run():
        await ask(
            "Find shoes and socks, then buy the shoes. "
            '[[call search {"query": "shoes"}]] [[call search {"query": "socks"}]] '
            '[[then buy {"item": "shoes", "amount": 80}]]'
        )
        await ask('Buy a yacht. [[call buy {"item": "a yacht", "amount": 90000}]]')
        await ask('Buy boots, too. [[call buy {"item": "boots", "amount": 80}]]')


asyncio.run(main())
