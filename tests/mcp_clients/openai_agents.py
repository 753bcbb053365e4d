"""OpenAI's Agents SDK: an agent whose model calls a tool, and then says what the tool's answer was to it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
from agents.mcp import MCPServerStreamableHttp
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from tests.mcp_clients import doings


class Scripted(Model):  # type: ignore[misc] # the package isn't in the environment that types are checked in
    """A model that calls one tool, and then says what came back."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self._name = name
        self._arguments = arguments

    async def get_response(
        self, system_instructions: Any, input: Any, *_rest: Any, **_more: Any
    ) -> Any:  # the interface's name
        """Call, or say what the call gave."""
        given = [] if isinstance(input, str) else input
        outputs = [item["output"] for item in given if item.get("type") == "function_call_output"]
        if not outputs:
            call = ResponseFunctionToolCall(
                type="function_call", call_id="1", name=self._name, arguments=json.dumps(self._arguments)
            )
            return ModelResponse(output=[call], usage=Usage(), response_id=None)
        text = ResponseOutputText(type="output_text", annotations=[], text=json.dumps(outputs[-1]))
        said = ResponseOutputMessage(
            id="1", type="message", role="assistant", status="completed", content=[text]
        )
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *_rest: Any, **_more: Any) -> Any:
        """Nobody asks for a stream here."""
        raise NotImplementedError


async def _say(server: Any, name: str, arguments: dict[str, Any]) -> str:
    """What an agent's model reads after it has called a tool."""
    agent = Agent(name="bot", model=Scripted(doings.tool(name), arguments), mcp_servers=[server])
    done = await Runner.run(agent, "go", run_config=RunConfig(tracing_disabled=True))
    return str(done.final_output)


async def main() -> None:
    """Do it all."""
    told: dict[str, Any] = {}
    parameters: Any = {"url": doings.URL, "headers": doings.HEADERS, "timeout": 30}
    async with MCPServerStreamableHttp(parameters, client_session_timeout_seconds=30) as server:
        told["tools"] = [tool.name for tool in await server.list_tools()]
        found = await server.call_tool(doings.tool("search"), doings.SEARCH)
        told["search"], told["meta"] = found.structured_content, found.meta
        told["refused"] = await _say(server, "transfer", doings.TOO_MUCH)
        told["report"] = await _say(server, "report", {})
        rates = (await server.list_resources()).resources[0].uri
        told["resource"] = (await server.read_resource(rates)).contents[0].text
        prompt = await server.get_prompt(doings.tool(doings.PROMPT), doings.TOPIC)
        told["prompt"] = prompt.messages[0].content.text
    doings.tell(told)


if __name__ == "__main__":
    asyncio.run(main())
