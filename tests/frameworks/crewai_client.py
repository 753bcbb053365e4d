"""Crews of CrewAI, whose tools Aegis decides for."""

from __future__ import annotations

import os
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

from aegis_sdk import run
from aegis_sdk.adapters.crewai import AegisHooks
from tests.frameworks import desk


def said(prompt: str) -> str:
    """What a crew of one says at the end."""
    functions = {**desk.TOOLS, "meet": desk.meet}
    agent = Agent(
        role="clerk",
        goal="do as told",
        backstory="works at the desk",
        llm=LLM(model="openai/gpt-4o-mini", base_url=os.environ["OPENAI_BASE_URL"], max_retries=0),
        tools=[tool(name)(each) for name, each in functions.items()],
        max_iter=5,
        cache=False,
    )
    task = Task(description=prompt, expected_output="what the tools said", agent=agent)
    return str(Crew(agents=[agent], tasks=[task], cache=False).kickoff())


def asked() -> dict[str, Any]:
    """Each prompt."""
    found: dict[str, Any] = {}
    more = {"broken": desk.BROKEN, "risky": desk.RISKY, "unmapped": desk.UNMAPPED}
    with AegisHooks(desk.MAPPED), run() as session:
        for name, prompt in {**desk.PROMPTS, **more}.items():
            found[name] = said(prompt)
        found["run"] = session.id
    return found


if __name__ == "__main__":
    with desk.traced():
        desk.said(**asked())
