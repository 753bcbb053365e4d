"""A framework's call of a tool, decided before it is run and settled after: what all adapters share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aegis_sdk.arguments import restored
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Scope, scope_of_call, within
from aegis_sdk.decision import Decision, ToolCall
from aegis_sdk.defaults import async_client_for, client_for
from aegis_sdk.errors import AegisError, InvalidRequest, NotRun, Refused
from aegis_sdk.jsonable import encoded
from aegis_sdk.results import numbers_of
from aegis_sdk.settler import Outcome

NAME_PREFIX = "tool-"

_log = logging.getLogger("aegis_sdk")

T = TypeVar("T")
Tools = Mapping[str, str | None]
"""A framework's names of tools, and Aegis's; None for one that is none of Aegis's business."""
Unfinished = tuple[type[BaseException], ...]
"""What a tool raises that is not at its end: it will be called again, under the same name."""


class NotBegun(Exception):
    """What kept a tool from being run: `fault`. An error of Aegis that the tool itself raises is not in one."""

    def __init__(self, fault: AegisError) -> None:
        """Keep it."""
        super().__init__(str(fault))
        self.fault = fault


class ToolCalls:
    """Decides for the tools of an agent, runs them, and settles them."""

    def __init__(
        self,
        tools: Tools | None = None,
        *,
        prefix: str | None = None,
        client: Aegis | AsyncAegis | None = None,
        customer: str | None = None,
    ) -> None:
        """`tools` maps names; one that isn't in it is `prefix`, a dot, and its own name, or else unknown.

        Without a client, it is that of `AEGIS_URL` and `AEGIS_API_KEY`.

        Raises:
            InvalidRequest: there is neither `tools` nor `prefix`.
        """
        if not tools and not prefix:
            raise InvalidRequest(
                'no tool is mapped: give `tools={"search": "desk.search"}`, or `prefix="desk"`', field="tools"
            )
        self._tools = dict(tools or {})
        self._prefix = prefix
        self._customer = customer
        self._given = client

    @property
    def client(self) -> Aegis:
        """The client for threads.

        Raises:
            AegisError: the environment names no key, or an address that is none.
        """
        return client_for(self._given)

    @property
    def async_client(self) -> AsyncAegis:
        """The client for event loops.

        Raises:
            AegisError: the environment names no key, or an address that is none.
        """
        return async_client_for(self._given)

    def asked(self, tool: str, arguments: Mapping[str, Any], name: str | None = None) -> ToolCall | None:
        """What the gateway is asked about a framework's tool; None where Aegis has no business with it.

        Raises:
            InvalidRequest: nobody said what it is to Aegis. It must not be run.
        """
        mapped = self._tools.get(tool, "")
        if mapped is None:
            return None
        if not mapped:
            if not self._prefix:
                raise InvalidRequest(
                    f"tool `{tool}` is mapped to no tool of Aegis, so it isn't run; add it to `tools`, with None as "
                    "its value if Aegis has no business with it",
                    field="tools",
                )
            mapped = f"{self._prefix}.{tool}"
        return ToolCall(tool=mapped, arguments=arguments, name=name, customer=self._customer)

    def run(
        self,
        call: ToolCall,
        run_tool: Callable[[Decision, dict[str, Any]], T],
        *,
        unfinished: Unfinished = (),
        numbers: Callable[[T], Mapping[str, Any]] | None = None,
    ) -> T:
        """Decide, run the tool with the arguments that are left, settle by the numbers of what it gives.

        Raises:
            NotBegun: it was not run: refused, or not decided. Besides, whatever the tool raises.
        """
        try:
            client = self.client
            decision = client.decide_call(call).check()
        except AegisError as fault:
            raise NotBegun(fault) from fault
        scope = scope_of_call(decision.id, decision.run)
        done = Outcome(call=call, decision=decision)
        try:
            arguments = left_of(call, decision)
        except AegisError as fault:
            client.finish(dataclasses.replace(done, kind="release"))
            raise NotBegun(fault) from fault
        try:
            with within(scope):
                result = run_tool(decision, arguments)
        except unfinished:
            raise
        except NotRun as fault:
            client.finish(_not_run(done, fault, scope))
            raise
        except Exception:
            client.finish(dataclasses.replace(done, result=scope.reported))
            raise
        except BaseException:  # the thread is to end
            client.finish_later(dataclasses.replace(done, result=scope.reported))
            raise
        found = _found(numbers or numbers_in, result, call)
        client.finish(dataclasses.replace(done, result={**found, **scope.reported}))
        return result

    async def run_async(
        self,
        call: ToolCall,
        run_tool: Callable[[Decision, dict[str, Any]], Awaitable[T]],
        *,
        decision: Decision | None = None,
        unfinished: Unfinished = (),
        numbers: Callable[[T], Mapping[str, Any]] | None = None,
    ) -> T:
        """The same, without blocking the event loop. A call that is cancelled is settled all the same.

        `decision` is what was decided of it a moment ago, if it was.

        Raises:
            NotBegun: it was not run: refused, or not decided. Besides, whatever the tool raises.
        """
        try:
            client = self.async_client
            decision = (decision or await client.decide_call(call)).check()
        except AegisError as fault:
            raise NotBegun(fault) from fault
        scope = scope_of_call(decision.id, decision.run)
        done = Outcome(call=call, decision=decision)
        try:
            arguments = left_of(call, decision)
        except AegisError as fault:
            await client.finish(dataclasses.replace(done, kind="release"))
            raise NotBegun(fault) from fault
        try:
            with within(scope):
                result = await run_tool(decision, arguments)
        except unfinished:
            raise
        except NotRun as fault:
            await client.finish(_not_run(done, fault, scope))
            raise
        except Exception:
            await client.finish(dataclasses.replace(done, result=scope.reported))
            raise
        except BaseException:  # the task is cancelled, and is not to wait for this
            client.finish_later(dataclasses.replace(done, result=scope.reported))
            raise
        found = _found(numbers or numbers_in, result, call)
        await client.finish(dataclasses.replace(done, result={**found, **scope.reported}))
        return result


def _not_run(done: Outcome, fault: NotRun, scope: Scope) -> Outcome:
    """What a call came to whose tool says that it was not run, or passes on what another one says."""
    if fault.take():
        return dataclasses.replace(done, kind="release")
    return dataclasses.replace(done, result=scope.reported)


def call_name(*parts: str | None) -> str | None:
    """A call's name, made of the ids that a framework has for it; None (so a new one each time) if one is missing."""
    if not all(parts):
        return None
    return NAME_PREFIX + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def is_told(fault: AegisError) -> bool:
    """Whether a fault is for the model to know: it was refused, or its arguments make no sense. Others are raised."""
    if isinstance(fault, InvalidRequest):
        return (fault.field or "").startswith("arguments")
    return isinstance(fault, Refused)


def numbers_in(result: object) -> dict[str, Any]:
    """The numbers of what a tool gave: of its fields, or, if it is a text that is an object in JSON, of that."""
    if isinstance(result, str) and result.lstrip().startswith("{"):
        try:
            return numbers_of(json.loads(result))
        except (ValueError, RecursionError):
            return {}
    return numbers_of(result)


def _found(numbers: Callable[[T], Mapping[str, Any]], result: T, call: ToolCall) -> Mapping[str, Any]:
    """The numbers of a result, as far as they can be had: the tool has run, and what it gave is its caller's."""
    try:
        return numbers(result)
    except Exception:
        _log.exception("the numbers of `%s` can't be read from its result; settled without", call.tool)
        return {}


def left_of(call: ToolCall, decision: Decision) -> dict[str, Any]:
    """The arguments that a tool is to be run with. What policies left as it was keeps its type.

    Raises:
        InvalidRequest: what they left can't stand where it has to.
    """
    given = dict(call.arguments)
    if not decision.is_redacted:
        return given
    sent = json.loads(encoded(given, "arguments"))
    return {
        name: given[name] if name in given and sent[name] == left else restored(given.get(name), left, name)
        for name, left in decision.arguments.items()
    }
