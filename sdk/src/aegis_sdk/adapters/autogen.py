"""AutoGen: the tools of a workbench.

    aegis = ToolCalls({"search": "desk.search"})
    AssistantAgent("…", model, workbench=AegisWorkbench(StaticWorkbench([search]), aegis))

A workbench gives texts. Numbers that price and counts are read from have to stand in one that is JSON, as that of a
tool which returns a pydantic model does. AutoGen's agents wait for ever where a workbench raises, so whatever keeps a
tool from being run is told to the model, and logged where it is not the gateway's decision.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from autogen_core import CancellationToken
from autogen_core.tools import TextResultContent, ToolResult, ToolSchema, Workbench

from aegis_sdk.adapters.tool_calls import NotBegun, ToolCalls, is_told, numbers_in
from aegis_sdk.adapters.words import told
from aegis_sdk.decision import Decision
from aegis_sdk.errors import AegisError, InvalidRequest

_log = logging.getLogger("aegis_sdk")


class AegisWorkbench(Workbench):
    """Decides for the tools of the workbench that it wraps."""

    def __init__(self, workbench: Workbench, calls: ToolCalls) -> None:
        """Wrap a workbench."""
        self._workbench = workbench
        self._calls = calls

    async def list_tools(self) -> list[ToolSchema]:
        """The tools of the workbench."""
        return await self._workbench.list_tools()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Decide, run, settle; or say why it was not run."""

        async def run(_decision: Decision, left: dict[str, Any]) -> ToolResult:
            return await self._workbench.call_tool(name, left, cancellation_token, call_id)

        try:
            call = self._calls.asked(name, arguments or {})
        except InvalidRequest as fault:
            return _refused(name, fault)
        if call is None:
            return await self._workbench.call_tool(name, arguments, cancellation_token, call_id)
        try:
            return await self._calls.run_async(call, run, numbers=_numbers)
        except NotBegun as kept:
            return _refused(name, kept.fault)

    async def start(self) -> None:
        """Start the workbench."""
        await self._workbench.start()

    async def stop(self) -> None:
        """Stop the workbench."""
        await self._workbench.stop()

    async def reset(self) -> None:
        """Reset the workbench."""
        await self._workbench.reset()

    async def save_state(self) -> Mapping[str, Any]:
        """The state of the workbench."""
        return await self._workbench.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state of the workbench."""
        await self._workbench.load_state(state)


def _refused(name: str, fault: AegisError) -> ToolResult:
    if not is_told(fault):
        _log.error("tool %s is not run: %s", name, fault)
    return ToolResult(name=name, result=[TextResultContent(content=told(fault))], is_error=True)


def _numbers(result: ToolResult) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in result.result if not result.is_error else ():
        if isinstance(part, TextResultContent):
            found.update(numbers_in(part.content))
    return found
