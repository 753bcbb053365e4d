"""Claude Agent SDK: the tools of a session, by its hooks.

    aegis = AegisHooks({"mcp__desk__search": "desk.search", "Read": None})
    ClaudeAgentOptions(hooks=aegis.hooks(), …)

Tools of MCP servers are named `mcp__SERVER__TOOL`. A tool that is neither mapped nor given None is not run. Claude Code
asks its own permissions after the hooks, and tells nobody what it refused: such a call stays at its maximum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claude_agent_sdk import HookContext, HookMatcher

from aegis_sdk.adapters.hooked_calls import HookedCalls
from aegis_sdk.adapters.tool_calls import ToolCalls, Tools, call_name, numbers_in
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis

Answer = dict[str, Any]


class AegisHooks:
    """Decides for the tools of sessions."""

    def __init__(
        self,
        tools: Tools | None = None,
        *,
        prefix: str | None = None,
        client: Aegis | AsyncAegis | None = None,
        customer: str | None = None,
    ) -> None:
        """As `ToolCalls`.

        Raises:
            AegisError: there is no tool, or no key.
        """
        self._calls = HookedCalls(ToolCalls(tools, prefix=prefix, client=client, customer=customer))

    def hooks(self) -> dict[Any, list[HookMatcher]]:
        """What `ClaudeAgentOptions(hooks=…)` takes; to be joined with hooks of one's own."""
        return {
            "PreToolUse": [HookMatcher(hooks=[self.before], on_failure="block")],
            "PostToolUse": [HookMatcher(hooks=[self.after])],
            "PostToolUseFailure": [HookMatcher(hooks=[self.failed])],
        }

    async def before(self, told: Mapping[str, Any], _id: str | None, _context: HookContext) -> Answer:
        """Decide; what is allowed here goes on to Claude Code's own permissions."""
        name = call_name(told.get("session_id"), told.get("tool_use_id"))
        answer = await self._calls.before_async(
            told.get("tool_use_id"), told["tool_name"], told["tool_input"], name
        )
        if answer.refusal is not None:
            return _output(permissionDecision="deny", permissionDecisionReason=answer.refusal)
        if answer.decision is not None and answer.decision.is_redacted:
            return _output(updatedInput=dict(answer.arguments))
        return {}

    async def after(self, told: Mapping[str, Any], _id: str | None, _context: HookContext) -> Answer:
        """Settle."""
        await self._calls.after_async(told.get("tool_use_id"), _numbers(told.get("tool_response")))
        return {}

    async def failed(self, told: Mapping[str, Any], _id: str | None, _context: HookContext) -> Answer:
        """Settle what has failed: it was run."""
        await self._calls.after_async(told.get("tool_use_id"), {})
        return {}


def _output(**fields: object) -> Answer:
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **fields}}


def _numbers(response: object) -> dict[str, Any]:
    """An MCP tool's result is a list of blocks, of which texts may be JSON; those of others are objects or texts."""
    if not isinstance(response, list):
        return numbers_in(response)
    found: dict[str, Any] = {}
    for block in response:
        if isinstance(block, Mapping) and isinstance(block.get("text"), str):
            found.update(numbers_in(block["text"]))
    return found
