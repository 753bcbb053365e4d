"""Agents of OpenAI's Agents SDK, whose tools Aegis decides for. `run FILE`, then `resume FILE`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents import Agent, FunctionTool, Runner, RunState, function_tool, set_tracing_disabled

from aegis_sdk import run
from aegis_sdk.adapters.openai_agents import AegisTools
from tests.frameworks import desk


def tools() -> list[Any]:
    """All tools as the SDK has them; the async ones share the loop."""
    functions: list[Callable[..., Any]] = [*desk.TOOLS.values()]
    made: list[Any] = [function_tool(each) for each in functions]
    made.append(function_tool(desk.meet_async, name_override="meet"))
    raising = function_tool(desk.broken, failure_error_function=None, name_override="raising")
    return [*made, raising]


def agent() -> Any:
    """An agent with all tools but the one that nobody told Aegis of."""
    aegis = AegisTools({**desk.MAPPED, "raising": "desk.broken", "secret": None}, approvals="interrupt")
    return Agent(name="bot", model="gpt-4o-mini", tools=aegis.guarded(tools()))


async def asked() -> dict[str, Any]:
    """Each prompt; what raises; what is left open."""
    made = agent()
    found: dict[str, Any] = {}
    async with run() as session:
        for name, prompt in {**desk.PROMPTS, "broken": desk.BROKEN, "secret": desk.UNMAPPED}.items():
            found[name] = str((await Runner.run(made, prompt)).final_output)
        found["run"] = session.id
    try:
        await Runner.run(made, 'Go. [[call raising {"what": "x"}]]')
    except Exception as fault:
        found["raising"] = f"{type(fault).__name__}: {fault}"
    try:
        AegisTools(desk.MAPPED).guarded(tools())
    except Exception as fault:
        found["unmapped"] = f"{type(fault).__name__}: {fault}"
    found["not a word"], found["undecided"] = await without_arguments()
    # What is allowed beside it is run; what waits is kept, as the SDK keeps it.
    paused = await Runner.run(made, 'Go. [[call risky {"what": "x"}]] [[call note {"text": "meanwhile"}]]')
    found["risky"] = [item.tool_name for item in paused.interruptions]
    state = paused.to_state()
    state.approve(paused.interruptions[0])
    found["approved here alone"] = str((await Runner.run(made, state)).final_output)
    again = await Runner.run(made, desk.RISKY)
    state = again.to_state()
    state.approve(again.interruptions[0])
    found["left open"] = state.to_string()
    return found


async def without_arguments() -> tuple[list[str], list[str]]:
    """What is given, and what is run, of a tool that takes whatever text a model writes."""
    ran: list[str] = []

    async def anything(_context: Any, text: str) -> str:
        ran.append(text)
        return "done"

    lenient = FunctionTool(
        name="note", description="", params_json_schema={"type": "object"}, on_invoke_tool=anything
    )
    [guarded] = AegisTools(desk.MAPPED).guarded([lenient])
    context: Any = None
    texts = ("[1]", "{", '"x"', "[" * 100_000)
    return [str(await guarded.on_invoke_tool(context, text)) for text in texts], ran


async def resumed(left_open: str) -> dict[str, Any]:
    """In another process: what was left open, twice over, as after a crash."""
    made = agent()
    found: dict[str, Any] = {}
    for name in ("risky", "again"):
        state = await RunState.from_string(made, left_open)
        found[name] = str((await Runner.run(made, state)).final_output)
    return found


def main() -> None:
    """Do as the arguments say."""
    set_tracing_disabled(True)
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
