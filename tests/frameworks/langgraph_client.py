"""Agents of LangChain and graphs of LangGraph, whose tools Aegis decides for. `run FILE`, then `resume FILE`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from aegis_sdk import Aegis, run
from aegis_sdk.adapters.langchain import AegisMiddleware
from aegis_sdk.adapters.langgraph import ASK_AGAIN, NOT_APPROVED, ToolWrapper
from tests.frameworks import desk

DIES = "A_TOOL_KILLS"


def confirm(what: str) -> str:
    """Ask a person, then do it."""
    desk.noted("before confirm", what=what)
    answer = interrupt({"sure about": what})
    desk.noted("confirm", what=what)
    return f"a person said {answer}"


def doubt(what: str) -> str:
    """Ask a person, then do it; a person has to agree before, too."""
    answer = interrupt({"sure about": what})
    desk.noted("doubt", what=what)
    return f"a person said {answer}"


def picky(text: str) -> str:
    """Ask Aegis for something itself, which a person would have to agree to."""
    desk.noted("picky", text=text)
    Aegis().decide("desk.risky", {"what": text}).check()
    return "never"


def mortal(text: str) -> str:
    """Take the process along, once; then live."""
    if DIES in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{text} again"


TOOLS = [StructuredTool.from_function(tool) for tool in desk.TOOLS.values()]
TOOLS += [StructuredTool.from_function(tool) for tool in (confirm, doubt, mortal, picky)]
TOOLS.append(StructuredTool.from_function(desk.meet, coroutine=desk.meet_async, name="meet"))


def agent(saver: Any) -> Any:
    """An agent with all tools."""
    return create_agent(
        ChatOpenAI(model="gpt-4o-mini", max_retries=0),
        tools=TOOLS,
        middleware=[
            AegisMiddleware(
                {**desk.MAPPED, "doubt": "desk.risky", "mortal": "desk.note", "picky": "desk.note"},
                approvals="interrupt",
                model_headers=True,
            )
        ],
        checkpointer=saver,
    )


def graph(saver: Any) -> Any:
    """A graph of its own, whose one node runs all calls of a message, and runs again as a whole when it is resumed."""
    model = ChatOpenAI(model="gpt-4o-mini", max_retries=0).bind_tools(TOOLS)
    aegis = ToolWrapper(prefix="desk")

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def goes_on(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

    made = StateGraph(MessagesState)
    made.add_node("ask", ask)
    made.add_node(
        "tools", ToolNode(TOOLS, wrap_tool_call=aegis.wrap_tool_call, awrap_tool_call=aegis.awrap_tool_call)
    )
    made.add_edge(START, "ask")
    made.add_conditional_edges("ask", goes_on)
    made.add_edge("tools", "ask")
    return made.compile(checkpointer=saver)


def message(text: str) -> Any:
    """What a graph begins with."""
    return {"messages": [HumanMessage(text)]}


def thread(name: str) -> Any:
    """A thread's configuration."""
    return {"configurable": {"thread_id": name}}


def last(state: Any) -> str:
    """What the model said at the end."""
    return str(state["messages"][-1].content)


async def asked(file: str) -> dict[str, Any]:
    """Each prompt in an event loop; what raises; what is left open."""
    statuses: dict[str, list[str]] = {}
    found: dict[str, Any] = {"statuses": statuses}
    async with AsyncSqliteSaver.from_conn_string(file) as saver:
        made = agent(saver)
        async with run() as session:
            for name, prompt in desk.PROMPTS.items():
                state = await made.ainvoke(message(prompt), thread(f"async-{name}"))
                found[name] = last(state)
                statuses[name] = [m.status for m in state["messages"] if m.type == "tool"]
            found["run"] = session.id
        picky = 'Go. [[call picky {"text": "x"}]]'
        for name, prompt in (("broken", desk.BROKEN), ("unmapped", desk.UNMAPPED), ("picky", picky)):
            try:
                await made.ainvoke(message(prompt), thread(name))
            except Exception as fault:
                found[name] = f"{type(fault).__name__}: {fault}"
        # A thread whose tool failed is taken up again: the tool is run again, which is another call.
        try:
            await made.ainvoke(None, thread("broken"))
        except OSError as fault:
            found["broken again"] = str(fault)
        paused = {
            "risky": desk.RISKY,
            "no": desk.RISKY,
            "doubt": 'Go. [[call doubt {"what": "z"}]]',
            "confirm": 'Go. [[call confirm {"what": "y"}]]',
        }
        for name, prompt in paused.items():
            state = await made.ainvoke(message(prompt), thread(name))
            found[name] = [pause.value for pause in state["__interrupt__"]]
        # Resumed before anybody has agreed it waits on; a no is final.
        for name, answer in (("risky", ASK_AGAIN), ("no", NOT_APPROVED)):
            state = await made.ainvoke(Command(resume=answer), thread(name))
            found[f"{name} resumed"] = len(state.get("__interrupt__", ())) or last(state)
    return found


def in_threads() -> dict[str, Any]:
    """Without an event loop: a denial, and a node that is run again as a whole."""
    made = agent(InMemorySaver())
    found: dict[str, Any] = {
        "sync denied": last(made.invoke(message(desk.PROMPTS["denied"]), thread("sync")))
    }
    both = graph(InMemorySaver())
    prompt = 'Go. [[call crawl {"pages": 30}]] [[call confirm {"what": "z"}]]'
    paused = both.invoke(message(prompt), thread("both"))
    found["paused"] = [pause.value for pause in paused["__interrupt__"]]
    found["both"] = last(both.invoke(Command(resume="yes"), thread("both")))
    return found


def counting_from_0() -> list[str]:
    """Two calls of one thread that have the same id and the same arguments, as those of some models do."""
    aegis = ToolWrapper(prefix="desk")
    node = ToolNode(TOOLS, wrap_tool_call=aegis.wrap_tool_call)
    made = StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools").compile(InMemorySaver())
    call = {"name": "wire", "args": {"amount": 1}, "id": "call_0"}
    made.invoke({"messages": [AIMessage("", tool_calls=[call])]}, thread("from 0"))
    state = made.invoke({"messages": [AIMessage("", tool_calls=[call])]}, thread("from 0"))
    return [str(said.content) for said in state["messages"] if said.type == "tool"]


def killed(file: str) -> int:
    """How a process ends whose tool kills it, by `kill -9`."""
    return subprocess.run(
        [sys.executable, *sys.argv[:1], "die", file], env={**os.environ, DIES: "1"}
    ).returncode


def resumed(file: str) -> dict[str, Any]:
    """In another process: what was left open."""
    with SqliteSaver.from_conn_string(file) as saver:
        made = agent(saver)
        if DIES in os.environ:
            prompt = message('Go. [[call mortal {"text": "alive"}]]')
            return dict(made.invoke(prompt, thread("mortal"), durability="sync"))
        doubting = made.invoke(Command(resume=ASK_AGAIN), thread("doubt"))
        return {
            "mortal": last(made.invoke(None, thread("mortal"))),
            "risky": last(made.invoke(Command(resume=ASK_AGAIN), thread("risky"))),
            "confirm": last(made.invoke(Command(resume="yes"), thread("confirm"))),
            "doubting": [pause.value for pause in doubting["__interrupt__"]],
            "doubt": last(agent(saver).invoke(Command(resume="maybe"), thread("doubt"))),
        }


def main() -> None:
    """Do as the arguments say."""
    what, file = sys.argv[1:]
    if what == "run":
        with desk.traced():
            found = asyncio.run(asked(file))
        desk.said(**found, **in_threads(), twice=counting_from_0(), killed=killed(file))
    else:
        desk.said(**resumed(file))


if __name__ == "__main__":
    main()
