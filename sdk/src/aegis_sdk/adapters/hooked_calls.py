"""Frameworks that tell of a call before and after it, instead of having it made: hooks.

Rule: a hook never raises, since some frameworks run the tool then. What keeps it from deciding is a refusal.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from aegis_sdk.adapters.tool_calls import ToolCalls, left_of
from aegis_sdk.adapters.words import told
from aegis_sdk.decision import Decision, ToolCall
from aegis_sdk.errors import AegisError
from aegis_sdk.settler import Outcome

OPEN_MAX = 10_000
"""How many calls may be under way; the oldest ones stay at their maximum beyond that."""

_log = logging.getLogger("aegis_sdk")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Before:
    """What a hook answers before a call: the decision it may be made under and with which arguments, or why it may not.

    Neither where Aegis has no business with the tool.
    """

    decision: Decision | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refusal: str | None = None


class HookedCalls:
    """Calls that are decided in one hook and settled in another. Threads may share it."""

    def __init__(self, calls: ToolCalls) -> None:
        """Begin with no call under way."""
        self.calls = calls
        self._open: OrderedDict[object, Outcome] = OrderedDict()
        self._lock = threading.Lock()

    def before(self, key: object, tool: str, arguments: Mapping[str, Any], name: str | None = None) -> Before:
        """Decide a call. `key` is what the hook after it knows it by."""
        try:
            call = self.calls.asked(tool, arguments, name)
            if call is None:
                return Before()
            client = self.calls.client
            decision = client.decide_call(call).check()
            try:
                return self._decided(key, call, decision)
            except AegisError:
                client.finish(Outcome(call=call, decision=decision, kind="release"))
                raise
        except Exception as fault:
            return self._refused(tool, fault)

    async def before_async(
        self, key: object, tool: str, arguments: Mapping[str, Any], name: str | None = None
    ) -> Before:
        """The same, without blocking the event loop."""
        try:
            call = self.calls.asked(tool, arguments, name)
            if call is None:
                return Before()
            client = self.calls.async_client
            decision = (await client.decide_call(call)).check()
            try:
                return self._decided(key, call, decision)
            except AegisError:
                await client.finish(Outcome(call=call, decision=decision, kind="release"))
                raise
        except Exception as fault:
            return self._refused(tool, fault)

    def after(self, key: object, numbers: Mapping[str, Any]) -> None:
        """Settle the call, if it was decided here."""
        outcome = self._taken(key)
        if outcome is not None:
            self.calls.client.finish(dataclasses.replace(outcome, result=numbers))

    async def after_async(self, key: object, numbers: Mapping[str, Any]) -> None:
        """The same, without blocking the event loop."""
        outcome = self._taken(key)
        if outcome is not None:
            await self.calls.async_client.finish(dataclasses.replace(outcome, result=numbers))

    def not_run(self, key: object) -> None:
        """Let go of the call, if it was decided here: it was allowed, and something else kept it from being made."""
        outcome = self._taken(key)
        if outcome is not None:
            self.calls.client.finish(dataclasses.replace(outcome, kind="release"))

    def _decided(self, key: object, call: ToolCall, decision: Decision) -> Before:
        arguments = left_of(call, decision)
        with self._lock:
            self._open[key] = Outcome(call=call, decision=decision)
            if len(self._open) > OPEN_MAX:
                _, forgotten = self._open.popitem(last=False)
                _log.error("call %s stays at its maximum: too many are under way", forgotten.name)
        return Before(decision=decision, arguments=arguments)

    def _taken(self, key: object) -> Outcome | None:
        with self._lock:
            return self._open.pop(key, None)

    def _refused(self, tool: str, fault: Exception) -> Before:
        if isinstance(fault, AegisError):
            return Before(refusal=told(fault))
        _log.error("tool %s is not run: it could not be decided", tool, exc_info=fault)
        return Before(
            refusal=f"Not run: it could not be decided whether `{tool}` may be called ({type(fault).__name__})."
        )
