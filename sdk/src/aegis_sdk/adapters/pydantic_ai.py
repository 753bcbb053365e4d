"""Pydantic AI: the tools of a toolset.

    Agent(model, toolsets=[AegisToolset(FunctionToolset([search]), ToolCalls({"search": "desk.search"}))])

A call is named after its conversation and its id, so a deferred call that is taken up again is decided and charged
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic_ai import ApprovalRequired as AskFirst
from pydantic_ai import RunContext, ToolFailed
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset

from aegis_sdk.adapters.tool_calls import NotBegun, ToolCalls, call_name, is_told
from aegis_sdk.adapters.words import told
from aegis_sdk.decision import Decision
from aegis_sdk.errors import ApprovalRequired


@dataclass
class AegisToolset(WrapperToolset[Any]):
    """Decides for the tools of the toolset that it wraps.

    `approvals`: tell the model that a person has to agree, or `defer` the call until the agent is run again with the
    answer (which needs `DeferredToolRequests` among the agent's output types). Then the gateway is asked again, and has
    the last word.
    """

    calls: ToolCalls
    approvals: Literal["tell", "defer"] = "tell"

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Decide, run, settle; or say why it was not run.

        Raises:
            ToolFailed: it was refused, which the model is told.
            AskFirst: a person has to agree first.
            AegisError: it could not be decided, so it was not run.
        """
        call = self.calls.asked(
            name, tool_args, call_name(ctx.conversation_id or ctx.run_id, ctx.tool_call_id)
        )
        if call is None:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)

        async def run(_decision: Decision, arguments: dict[str, Any]) -> Any:
            return await self.wrapped.call_tool(name, arguments, ctx, tool)

        try:
            # A tool that asks for an approval of its own is called again with it.
            return await self.calls.run_async(call, run, unfinished=(AskFirst,))
        except NotBegun as kept:
            fault = kept.fault
            if isinstance(fault, ApprovalRequired) and self.approvals == "defer":
                raise AskFirst(metadata=_question(fault.decision)) from fault
            if not is_told(fault):
                raise fault from None
            raise ToolFailed(told(fault)) from fault


def _question(decision: Decision) -> dict[str, Any]:
    return {
        "type": "aegis.approval_required",
        "tool": decision.tool,
        "decision": decision.id,
        "reasons": [reason.message for reason in decision.reasons],
        "maximum_usd": None if decision.maximum_usd is None else str(decision.maximum_usd),
    }
