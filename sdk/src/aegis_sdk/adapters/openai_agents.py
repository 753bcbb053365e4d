"""OpenAI Agents SDK: the function tools of an agent.

    aegis = AegisTools({"search": "desk.search"})
    Agent(name="…", tools=aegis.guarded([search]))

Each tool's `on_invoke_tool` is wrapped, not a hook: the SDK turns what a tool raises into a text, and calls hooks as if
it had succeeded. A call is named after the id that the model gave it, so a run that is resumed (`RunState`) decides and
charges nothing twice; where a model's ids aren't unique, say with `thread` what sets them apart.
"""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal

from agents import FunctionTool, RunContextWrapper, Tool
from agents.tool_context import ToolContext

from aegis_sdk.adapters.tool_calls import NotBegun, ToolCalls, Tools, call_name, is_told
from aegis_sdk.adapters.words import told
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.decision import Decision, ToolCall
from aegis_sdk.errors import AegisError, InvalidRequest

Thread = Callable[[RunContextWrapper[Any]], str]
DECIDED_MAX = 512
"""How many decisions are kept from asking whether a person is needed to running the tool."""

_FRAMEWORK = "openai-agents"


class AegisTools:
    """Decides for function tools."""

    def __init__(
        self,
        tools: Tools | None = None,
        *,
        prefix: str | None = None,
        client: Aegis | AsyncAegis | None = None,
        customer: str | None = None,
        approvals: Literal["tell", "interrupt"] = "tell",
        thread: Thread | None = None,
    ) -> None:
        """As `ToolCalls`. `approvals`: tell the model that a person has to agree, or interrupt the run for it, as tools
        with `needs_approval` do; once it is approved there and resumed, the gateway is asked again, for the last word.

        Raises:
            AegisError: there is no tool, or no key.
        """
        self._calls = ToolCalls(tools, prefix=prefix, client=client, customer=customer)
        self._interrupts = approvals == "interrupt"
        self._thread = thread
        self._decided: OrderedDict[str, Decision] = OrderedDict()

    def guarded(self, tools: Iterable[Tool]) -> list[Tool]:
        """Copies of the function tools that are decided for; other kinds as they are.

        Raises:
            InvalidRequest: nobody said what a tool is to Aegis.
        """
        return [self._guarded(tool) if isinstance(tool, FunctionTool) else tool for tool in tools]

    def _guarded(self, tool: FunctionTool) -> FunctionTool:
        if self._calls.asked(tool.name, {}) is None:
            return tool
        inner = tool.on_invoke_tool

        async def invoke(context: ToolContext[Any], text: str) -> Any:
            arguments = _arguments(text)
            if arguments is None:
                # There is nothing to decide on; what the tool would make of them is its own affair.
                return told(
                    InvalidRequest(f"the arguments of `{tool.name}` are no JSON object", field="arguments")
                )

            async def run(decision: Decision, arguments: dict[str, Any]) -> Any:
                return await inner(context, json.dumps(arguments) if decision.is_redacted else text)

            call = self._asked(tool, context, arguments)
            decision = self._decided.pop(call.name, None) if call.name is not None else None
            try:
                return await self._calls.run_async(call, run, decision=decision)
            except NotBegun as kept:
                if not is_told(kept.fault):
                    raise kept.fault from None
                return told(kept.fault)

        guarded = dataclasses.replace(tool, on_invoke_tool=invoke)
        if self._interrupts:
            guarded.needs_approval = self._needs_approval(tool)
        return guarded

    def _needs_approval(
        self, tool: FunctionTool
    ) -> Callable[[RunContextWrapper[Any], dict[str, Any], str], Awaitable[bool]]:
        """Whether a person has to be asked, by the tool itself or by the gateway."""
        own = tool.needs_approval

        async def needs(context: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
            if own is True or (callable(own) and await own(context, arguments, call_id)):
                return True
            call = self._asked(tool, context, arguments, call_id)
            try:
                decision = await self._calls.async_client.decide_call(call)
            except AegisError as fault:
                if not is_told(fault):
                    raise
                return False  # what is wrong with the arguments is told when the tool is invoked
            if decision.effect == "require_approval":
                return True
            if call.name is not None:
                self._remember(call.name, decision)
            return False

        return needs

    def _remember(self, name: str, decision: Decision) -> None:
        """Keep what was decided until the tool is invoked, which is next. What is lost is found again by its name."""
        self._decided[name] = decision
        while len(self._decided) > DECIDED_MAX:
            self._decided.popitem(last=False)

    def _asked(
        self,
        tool: FunctionTool,
        context: RunContextWrapper[Any],
        arguments: Mapping[str, Any],
        call_id: str | None = None,
    ) -> ToolCall:
        id = call_id if call_id is not None else getattr(context, "tool_call_id", "")
        thread = self._thread(context) if self._thread is not None else _FRAMEWORK
        call = self._calls.asked(tool.name, arguments, call_name(thread, id))
        assert call is not None, "only mapped tools are guarded"
        return call


def _arguments(text: str) -> dict[str, Any] | None:
    if not text:
        return {}
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None
