"""CrewAI: the tools of all agents of a process, by its hooks.

    with AegisHooks({"search": "desk.search"}):
        crew.kickoff()

CrewAI's hooks know no id of a call, so each call is one of its own. A result that a crew takes from its cache counts as
a call that was made: build the crew with `cache=False`.
"""

from __future__ import annotations

from collections import OrderedDict
from types import TracebackType
from typing import Any

from crewai.hooks import (
    ToolCallHookContext,
    register_after_tool_call_hook,
    register_before_tool_call_hook,
    unregister_after_tool_call_hook,
    unregister_before_tool_call_hook,
)

from aegis_sdk.adapters.hooked_calls import OPEN_MAX, HookedCalls
from aegis_sdk.adapters.tool_calls import ToolCalls, Tools, numbers_in
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis

_BLOCKED = "Tool execution blocked by hook."
"""What CrewAI gives instead of a result when another hook has said no."""


class AegisHooks:
    """Decides for the tools of all crews, while it is registered."""

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
        # A call's arguments are one object before and after it: that is what tells calls apart. Kept, so that no other
        # object gets its identity meanwhile; and why the tool isn't run, where it isn't.
        self._begun: OrderedDict[int, tuple[dict[str, Any], str | None]] = OrderedDict()

    def __enter__(self) -> AegisHooks:
        """Register."""
        register_before_tool_call_hook(self.before)
        register_after_tool_call_hook(self.after)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the hooks away again."""
        unregister_before_tool_call_hook(self.before)
        unregister_after_tool_call_hook(self.after)

    def before(self, context: ToolCallHookContext) -> bool | None:
        """Decide; False keeps the tool from being run."""
        key = id(context.tool_input)
        if getattr(context.tool, "has_reached_max_usage_count", bool)():
            return None  # the crew won't run it
        answer = self._calls.before(key, context.tool_name, dict(context.tool_input))
        self._begun[key] = context.tool_input, answer.refusal
        if len(self._begun) > OPEN_MAX:  # a crew that dies in a tool tells nothing after it
            self._begun.popitem(last=False)
        if answer.refusal is not None:
            return False
        if answer.decision is not None and answer.decision.is_redacted:
            context.tool_input.clear()
            context.tool_input.update(answer.arguments)
        return None

    def after(self, context: ToolCallHookContext) -> str | None:
        """Settle; or say why the tool was not run."""
        key = id(context.tool_input)
        _, refusal = self._begun.pop(key, (None, None))
        if refusal is None and str(context.raw_tool_result).startswith(_BLOCKED):
            self._calls.not_run(key)
        elif refusal is None:
            self._calls.after(key, numbers_in(context.raw_tool_result))
        return refusal
