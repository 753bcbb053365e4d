"""Agents of AutoGen, whose tools Aegis decides for."""

from __future__ import annotations

import asyncio
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core.tools import FunctionTool, StaticWorkbench
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel

from aegis_sdk import run
from aegis_sdk.adapters.autogen import AegisWorkbench
from aegis_sdk.adapters.tool_calls import ToolCalls
from tests.frameworks import desk


class Pages(BaseModel):
    """What a crawl found; AutoGen gives it to the model as JSON."""

    pages: int
    said: str


def crawl(pages: int) -> Pages:
    """Read some pages. Finds fewer than it may."""
    return Pages(**desk.crawl(pages))


def workbench() -> Any:
    """A workbench with all tools."""
    functions = {**desk.TOOLS, "crawl": crawl, "meet": desk.meet_async}
    tools = [FunctionTool(each, each.__doc__ or "", name=name) for name, each in functions.items()]
    return AegisWorkbench(StaticWorkbench(tools), ToolCalls(desk.MAPPED))


async def asked() -> dict[str, Any]:
    """Each prompt."""
    found: dict[str, Any] = {}
    async with OpenAIClient() as model, run() as session:
        more = {"broken": desk.BROKEN, "risky": desk.RISKY, "unmapped": desk.UNMAPPED}
        for name, prompt in {**desk.PROMPTS, **more}.items():
            found[name] = await said(model, prompt)
        found["run"] = session.id
    return found


class OpenAIClient:
    """A model, closed at the block's end."""

    async def __aenter__(self) -> Any:
        """Open it."""
        self._client = OpenAIChatCompletionClient(model="gpt-4o-mini", max_retries=0)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._client.close()


async def said(model: Any, prompt: str) -> str:
    """What an agent says at the end."""
    agent = AssistantAgent("bot", model, workbench=workbench(), max_tool_iterations=5)
    result = await agent.run(task=prompt)
    return str(result.messages[-1].content)


if __name__ == "__main__":
    with desk.traced():
        desk.said(**asyncio.run(asked()))
