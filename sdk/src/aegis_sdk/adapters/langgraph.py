"""LangGraph: the tools of a `ToolNode`.

    aegis = ToolWrapper({"search": "desk.search"})
    ToolNode([search], wrap_tool_call=aegis.wrap_tool_call, awrap_tool_call=aegis.awrap_tool_call)

What a thread does is one run, for as long as this process knows it, unless it is in a run already (`with run(): …`).
A call is named after its thread, its message and its id, so resuming a thread decides and charges nothing twice:
  * A tool that pauses (`interrupt`) is resumed under the decision it had.
  * A tool that is at its end is not run again; what it gave is given again, where this process still knows it.
  * A tool that raised was run: running it again is another call, with its own decision and cost.

After a crash too, where the graph's checkpoints are written before it goes on (`durability="sync"`).

A graph that waits for a person's approval is resumed by `Command(resume=ASK_AGAIN)` once it is given, or
`Command(resume=NOT_APPROVED)`. LangGraph hands out answers in the order of questions, each time a task runs: these two
can be told from answers to what the tool itself asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias, TypeVar

from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, interrupt

from aegis_sdk.adapters.tool_calls import NotBegun, ToolCalls, Tools, call_name, is_told, numbers_in
from aegis_sdk.adapters.words import not_approved, told
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Run, Scope, current_run, within
from aegis_sdk.decision import Decision, ToolCall
from aegis_sdk.errors import AegisError, AlreadyDone, ApprovalRequired, Refused

Result: TypeAlias = "ToolMessage | Command[Any]"
V = TypeVar("V")

ASK_AGAIN: Final = {"aegis": "ask again"}
"""What a graph is resumed with when a person has agreed: the gateway is asked again, and has the last word."""
NOT_APPROVED: Final = {"aegis": "not approved"}
"""What a graph is resumed with when a person has said no: the tool is not run."""

REMEMBERED_MAX = 512
"""How many results, and how many failed attempts, are remembered."""

_SCRATCHPAD = "__pregel_scratchpad"


class ToolWrapper:
    """Decides for the tools of a graph; its methods are what `ToolNode` wraps them by."""

    def __init__(
        self,
        tools: Tools | None = None,
        *,
        prefix: str | None = None,
        client: Aegis | AsyncAegis | None = None,
        customer: str | None = None,
        approvals: Literal["tell", "interrupt"] = "tell",
    ) -> None:
        """As `ToolCalls`. `approvals`: tell the model that a person has to agree, or `interrupt` the graph until it is
        resumed with `ASK_AGAIN` or `NOT_APPROVED`.

        Raises:
            AegisError: there is no tool, or no key.
        """
        self._calls = ToolCalls(tools, prefix=prefix, client=client, customer=customer)
        self._interrupts = approvals == "interrupt"
        self.runs = ThreadRuns()
        self._results: _Remembered[Result] = _Remembered()
        self._attempts: _Remembered[int] = _Remembered()

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        """Decide, run, settle; or say why it was not run.

        Raises:
            AegisError: it could not be decided, so it was not run.
        """
        made = _Made(request)
        call = self._asked(made)
        if call is None:
            return handler(request)
        while True:
            try:
                with self.runs.of(made.thread):
                    result = self._calls.run(
                        call,
                        lambda decision, arguments: handler(self._decided(made, decision, arguments)),
                        unfinished=(GraphBubbleUp,),
                        numbers=_numbers,
                    )
            except NotBegun as kept:
                answer = self._instead(made, call, kept.fault)
                if answer is not None:
                    return answer
            except GraphBubbleUp:
                raise
            except Exception:
                self._failed(made)
                raise
            else:
                return self._done(call, result)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """The same, without blocking the event loop.

        Raises:
            AegisError: it could not be decided, so it was not run.
        """
        made = _Made(request)
        call = self._asked(made)
        if call is None:
            return await handler(request)
        while True:
            try:
                with self.runs.of(made.thread):
                    result = await self._calls.run_async(
                        call,
                        lambda decision, arguments: handler(self._decided(made, decision, arguments)),
                        unfinished=(GraphBubbleUp,),
                        numbers=_numbers,
                    )
            except NotBegun as kept:
                answer = self._instead(made, call, kept.fault)
                if answer is not None:
                    return answer
            except GraphBubbleUp:
                raise
            except Exception:
                self._failed(made)
                raise
            else:
                return self._done(call, result)

    def _asked(self, made: _Made) -> ToolCall | None:
        """What the gateway is asked."""
        attempts = self._attempts.get(made.key) if made.key is not None else None
        name = made.key if not attempts else call_name(made.key, str(attempts))
        return self._calls.asked(made.tool, made.arguments, name)

    def _decided(self, made: _Made, decision: Decision, arguments: dict[str, Any]) -> ToolCallRequest:
        """The request with the arguments that were decided on."""
        while self._interrupts and made.next_answer() in (ASK_AGAIN, NOT_APPROVED):
            # It was approved meanwhile. What the graph was resumed with must not answer what the tool itself asks.
            made.ask(decision)
        if not decision.is_redacted:
            return made.request
        return made.request.override(tool_call={**made.request.tool_call, "args": arguments})

    def _done(self, call: ToolCall, result: Result) -> Result:
        if call.name is not None:
            self._results.put(call.name, result)
        return result

    def _failed(self, made: _Made) -> None:
        if made.key is not None:
            self._attempts.put(made.key, (self._attempts.get(made.key) or 0) + 1)

    def _instead(self, made: _Made, call: ToolCall, fault: AegisError) -> Result | None:
        """What is given instead of a result; None to ask again."""
        if isinstance(fault, AlreadyDone) and call.name is not None:
            known = self._results.get(call.name)
            if known is not None:
                return known
        if isinstance(fault, ApprovalRequired) and self._interrupts:
            if made.ask(fault.decision) == NOT_APPROVED:
                return _refused(made, not_approved(call.tool), fault)
            return None
        if not is_told(fault):
            raise fault
        return _refused(made, told(fault), fault)


class _Made:
    """A call that a model made."""

    def __init__(self, request: ToolCallRequest) -> None:
        call = request.tool_call
        self.request = request
        self.tool: str = call["name"]
        self.arguments: Mapping[str, Any] = call["args"]
        self.id: str = call["id"] or ""
        self.thread = thread_of(_config(request))
        # Without a thread nothing is resumed. Some models count their calls from 0 in every message: by the message's
        # own id they are told apart.
        self.key = call_name(self.thread, self.id, _message_of(request.state, self.id))
        self._questions = 0
        self._new_answer_taken = False

    def ask(self, decision: Decision) -> Any:
        """Interrupt the graph with the question whether it may be made; the answer, once there is one."""
        pad = self._pad()
        is_new = pad is not None and self._questions >= len(pad.resume)
        answer = interrupt(_question(self, decision))
        self._questions += 1
        self._new_answer_taken |= is_new
        return answer

    def next_answer(self) -> Any:
        """What the next question in this task is answered at once, or None if it would interrupt the graph.

        The answers of earlier times that the task ran come first, then the one that the graph was resumed with.
        """
        pad = self._pad()
        if pad is None:
            return None
        if self._questions < len(pad.resume):
            return pad.resume[self._questions]
        return None if self._new_answer_taken else pad.get_null_resume(False)

    def _pad(self) -> Any:
        """Where LangGraph keeps the answers of a task, if it runs in a graph."""
        return (_config(self.request).get("configurable") or {}).get(_SCRATCHPAD)


class _Remembered(OrderedDict[str, V]):
    """The last few values, by call. Threads may share it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def put(self, key: str, value: V) -> None:
        """Remember one, and forget the oldest."""
        with self._lock:
            self[key] = value
            while len(self) > REMEMBERED_MAX:
                self.popitem(last=False)

    def kept(self, key: str, make: Callable[[], V]) -> V:
        """The one that is remembered, or a new one."""
        with self._lock:
            value = self.get(key)
            if value is None:
                value = self[key] = make()
            while len(self) > REMEMBERED_MAX:
                self.popitem(last=False)
        return value


class ThreadRuns:
    """The runs of threads."""

    def __init__(self) -> None:
        """Know none yet."""
        self._runs: _Remembered[Run] = _Remembered()

    @contextmanager
    def of(self, thread: str | None) -> Iterator[None]:
        """A block of a thread's run, unless it is in a run already, or there is no thread."""
        if thread is None or current_run() is not None:
            yield
            return
        with within(Scope(run=self._runs.kept(thread, Run))):
            yield


def thread_of(config: Mapping[str, Any]) -> str | None:
    """The thread that a configuration names."""
    thread = (config.get("configurable") or {}).get("thread_id")
    return None if thread is None else str(thread)


def _message_of(state: object, id: str) -> str:
    """The id of the message that a call is in; a dash if it can't be found."""
    messages = state if isinstance(state, list) else getattr(state, "messages", None)
    if isinstance(state, Mapping):
        messages = state.get("messages")
    for message in reversed(messages or []):
        if any(call.get("id") == id for call in getattr(message, "tool_calls", ())):
            return getattr(message, "id", None) or "-"
    return "-"


def _question(made: _Made, decision: Decision) -> dict[str, Any]:
    """What a person is asked, as the graph's interrupt."""
    return {
        "type": "aegis.approval_required",
        "tool": decision.tool,
        "arguments": dict(made.arguments),
        "decision": decision.id,
        "reasons": [reason.message for reason in decision.reasons],
        "maximum_usd": None if decision.maximum_usd is None else str(decision.maximum_usd),
    }


def _refused(made: _Made, words: str, fault: AegisError) -> ToolMessage:
    artifact: dict[str, Any] = {"error": type(fault).__name__}
    if isinstance(fault, Refused):
        artifact["decision"] = fault.decision.id
        artifact["effect"] = fault.decision.effect
        artifact["reasons"] = [reason.code for reason in fault.decision.reasons]
    return ToolMessage(
        content=words, name=made.tool, tool_call_id=made.id, status="error", artifact={"aegis": artifact}
    )


def _numbers(result: Result) -> dict[str, Any]:
    """A tool's result is text by now; what it gave besides, for programs, counts more."""
    if not isinstance(result, ToolMessage):
        return {}
    said = result.content if isinstance(result.content, str) else ""
    return {**numbers_in(said), **numbers_in(result.artifact)}


def _config(request: ToolCallRequest) -> Mapping[str, Any]:
    runtime = request.runtime
    return runtime.config if runtime is not None else {}
