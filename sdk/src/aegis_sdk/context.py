"""Which run, and which call, code belongs to: told down to nested calls, tasks and model calls by context variables.

A run is one session of an agent. Its id is the gateway's: one that has none yet is opened by the first decision in it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from aegis_sdk.decision import ToolCall
from aegis_sdk.errors import Unavailable
from aegis_sdk.forks import forget_in_forks
from aegis_sdk.tracing import TRACEPARENT, current_trace

RUN_HEADER = "Aegis-Run-Id"
PARENT_HEADER = "Aegis-Parent-Id"


class Run:
    """One session of an agent. What is decided within `with` is of it; `headers` makes model calls so too."""

    def __init__(self, id: str | None = None) -> None:
        """With the id of a run that there is, or without one: then it is opened by its first decision."""
        self._id = id
        self.forget()
        forget_in_forks(self)

    def forget(self) -> None:
        """Begin afresh, in a process that was forked: who opens the run there is not here."""
        self._lock = threading.Lock()
        self._opening: Future[None] | None = None

    @property
    def id(self) -> str | None:
        """Its id; None until it is opened."""
        return self._id

    def headers(self) -> dict[str, str]:
        """What a model call sends to be of this run, and of the call that is under way in it."""
        scope = _scope.get()
        parent = scope.parent if scope.run is self else None
        return _headers(self._id, parent)

    def __enter__(self) -> Run:
        """Begin: what follows is of this run."""
        # Not a token to reset by: many threads and tasks may be in one run at a time, each in a context of its own.
        _scope.set(Scope(run=self, before=_scope.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End: what follows is of the run before."""
        _scope.set(_scope.get().before or Scope())

    async def __aenter__(self) -> Run:
        """Begin: what follows is of this run."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End: what follows is of the run before."""
        self.__exit__(kind, error, trace)

    def claim(self) -> Future[None] | None:
        """Become the one who opens it (None), or get what to wait for while another does, or has just done so."""
        with self._lock:
            if self._opening is None:
                self._opening = Future()
                return None
            return self._opening

    def opened(self, id: str | None) -> None:
        """It has its id; or opening it failed, and another may try."""
        with self._lock:
            self._id = id
            opening = self._opening
            if (
                id is None
            ):  # else it stays: who has seen no id a moment ago, and claims it now, is not to open another
                self._opening = None
        if opening is not None:
            opening.set_result(None)


@dataclass(frozen=True)
class Scope:
    """Where code runs: in which run, for which call, and what that call has reported of itself; and where before."""

    run: Run | None = None
    parent: str | None = None
    reported: dict[str, Any] = field(default_factory=dict)
    before: Scope | None = None


_scope: ContextVar[Scope] = ContextVar("aegis_sdk_scope", default=Scope())  # noqa: B039 - never written to, see `report`


def current_run() -> Run | None:
    """The run that this code is part of."""
    return _scope.get().run


def current_headers() -> dict[str, str]:
    """What a model call sends to be of the run and the call that this code is part of; empty outside of both."""
    scope = _scope.get()
    return _headers(scope.run.id if scope.run is not None else None, scope.parent)


def report(**numbers: Any) -> None:
    """Tell what the guarded tool that runs has used so far, by the names that its price and counts are read from.

    The last word counts. It is what a tool is settled by that raises, is cut short, or returns nothing.
    """
    scope = _scope.get()
    if scope.parent is not None:
        scope.reported.update(numbers)


class HasHeaders(Protocol):
    """A request of an HTTP library."""

    @property
    def headers(self) -> Any:
        """Its headers, which can be set by name."""


def model_call_headers() -> dict[str, str]:
    """What one model call sends, now: its run, its call, and its place in a trace."""
    trace = current_trace()
    return {**current_headers(), **(trace.headers if trace is not None else {})}


def add_headers(request: HasHeaders) -> None:
    """Put a request of `httpx` into the run that it is sent in: `Client(event_hooks={"request": [add_headers]})`.

    It stands where the code stands in a trace, unless it says so itself.
    """
    is_traced = TRACEPARENT in request.headers
    for name, value in (current_headers() if is_traced else model_call_headers()).items():
        request.headers[name] = value


async def add_headers_async(request: HasHeaders) -> None:
    """The same for `httpx.AsyncClient`."""
    add_headers(request)


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """A block that runs in a scope."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def scope_of_call(call: str, run: str | None) -> Scope:
    """The scope in which a tool runs: what it calls is called for it, in its run."""
    known = _scope.get().run
    return Scope(run=known if known is not None or run is None else Run(run), parent=call)


def unopened_run() -> Run | None:
    """The run that this code is part of, if that has no id yet."""
    run = _scope.get().run
    return run if run is not None and run.id is None else None


def place(run: str | None = None, parent: str | None = None) -> tuple[str | None, str | None]:
    """The run and the call that something is of: those that are given, or else those of the code that asks."""
    scope = _scope.get()
    own = scope.run.id if scope.run is not None else None
    return run if run is not None else own, parent if parent is not None else scope.parent


def below() -> tuple[str | None, str | None]:
    """Below what a run is opened here: below a call, or else in a run."""
    run, parent = place()
    return parent, run if parent is None else None


def in_scope(call: ToolCall) -> tuple[ToolCall, Run | None]:
    """A call as it is of the code that makes it; and the run it has to open, or wait for, if that has no id yet."""
    unopened = unopened_run() if call.run is None else None  # first: it may be opened any moment
    run, parent = place(call.run, call.parent)
    return dataclasses.replace(call, run=run, parent=parent, trace=call.trace or current_trace()), unopened


def wait_for(opening: Future[None], timeout_s: float) -> None:
    """Wait until a run is opened, or could not be.

    Raises:
        Unavailable: it took too long.
    """
    try:
        opening.result(timeout_s)
    except TimeoutError as fault:
        raise _not_opened() from fault


async def wait_for_async(opening: Future[None], timeout_s: float) -> None:
    """The same without blocking; who gives up does not keep the others from waiting on.

    Raises:
        Unavailable: it took too long.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(asyncio.wrap_future(opening))
    except TimeoutError as fault:
        raise _not_opened() from fault


def _not_opened() -> Unavailable:
    return Unavailable("the run's first decision takes too long, and opens it", may_have_arrived=False)


def _headers(run: str | None, parent: str | None) -> dict[str, str]:
    headers = {RUN_HEADER: run, PARENT_HEADER: parent}
    return {name: value for name, value in headers.items() if value is not None}
