"""Agents of Pydantic AI, whose tools Aegis decides for. `run FILE`, then `resume FILE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelMessagesTypeAdapter
from pydantic_ai.toolsets import FunctionToolset

from aegis_sdk import run
from aegis_sdk.adapters.pydantic_ai import AegisToolset
from aegis_sdk.adapters.tool_calls import ToolCalls
from tests.frameworks import desk


def agent() -> Any:
    """An agent with all tools."""
    tools: FunctionToolset[Any] = FunctionToolset([*desk.TOOLS.values()])
    tools.add_function(desk.meet_async, name="meet")
    toolset = AegisToolset(tools, ToolCalls(desk.MAPPED), approvals="defer")
    return Agent("openai-chat:gpt-4o-mini", toolsets=[toolset], output_type=[str, DeferredToolRequests])


async def asked() -> dict[str, Any]:
    """Each prompt; what raises; what is left open."""
    made = agent()
    found: dict[str, Any] = {}
    async with run() as session:
        for name, prompt in desk.PROMPTS.items():
            found[name] = (await made.run(prompt)).output
        found["run"] = session.id
    for name, prompt in (("broken", desk.BROKEN), ("unmapped", desk.UNMAPPED)):
        try:
            await made.run(prompt)
        except Exception as fault:
            found[name] = f"{type(fault).__name__}: {fault}"
    paused = await made.run(desk.RISKY)
    requests = paused.output
    found["risky"] = [requests.metadata[call.tool_call_id] for call in requests.approvals]
    # Somebody says yes here, and nobody did there: it waits on.
    answers = DeferredToolResults(approvals={call.tool_call_id: True for call in requests.approvals})
    still = await made.run(message_history=paused.all_messages(), deferred_tool_results=answers)
    found["approved here alone"] = [call.tool_name for call in still.output.approvals]
    found["left open"] = ModelMessagesTypeAdapter.dump_json(paused.all_messages()).decode()
    return found


async def resumed(left_open: str) -> dict[str, Any]:
    """In another process: what was left open, twice over, as after a crash."""
    history = ModelMessagesTypeAdapter.validate_json(left_open)
    calls = [part.tool_call_id for part in history[-1].parts if part.part_kind == "tool-call"]
    answers = DeferredToolResults(approvals=dict.fromkeys(calls, True))
    found: dict[str, Any] = {}
    for name in ("risky", "again"):
        found[name] = (await agent().run(message_history=history, deferred_tool_results=answers)).output
    return found


def main() -> None:
    """Do as the arguments say."""
    what, file = sys.argv[1:]
    if what == "resume":
        desk.said(**asyncio.run(resumed(Path(file).read_text())))
    else:
        with desk.traced():
            found = asyncio.run(asked())
        Path(file).write_text(found.pop("left open"))
        desk.said(**found)


if __name__ == "__main__":
    main()
