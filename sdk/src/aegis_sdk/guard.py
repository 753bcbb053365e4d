"""Guarded tools: functions that are decided before they run, and settled after.

Rule 1: nothing runs that was not allowed. Where the gateway can't be asked nothing runs, unless `fail_open` says so.
Rule 2: what runs is what was decided: with the arguments that policies left.
Rule 3: a tool's result, or its error, reaches its caller whatever becomes of the settlement; and what became of the
        tool reaches the gateway, at once or later, however it ended.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from aegis_sdk.arguments import Arguments, Choice
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Scope, current_run, scope_of_call, within
from aegis_sdk.decision import Decision, Money, ToolCall
from aegis_sdk.defaults import async_client_for, client_for
from aegis_sdk.errors import NotRun, Unavailable
from aegis_sdk.results import numbers_of
from aegis_sdk.settler import Outcome
from aegis_sdk.wire import named

P = ParamSpec("P")
R = TypeVar("R")

Cost: TypeAlias = Money | Callable[[Any], Money | None] | None

_log = logging.getLogger("aegis_sdk")


def guard(
    tool: str,
    *,
    client: Aegis | AsyncAegis | None = None,
    arguments: Choice = None,
    result: Callable[[Any], Mapping[str, Any]] | None = None,
    cost: Cost = None,
    name: Callable[..., str] | None = None,
    customer: Callable[..., str | None] | str | None = None,
    approval_within_s: float = 0,
    fail_open: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a function, coroutine function or generator function, plain or asynchronous, as a tool of the gateway's.

    Args:
        tool: `CONNECTOR.OPERATION`, as the gateway's configuration names it.
        client: whom to ask by; by default one with the address and key of the environment.
        arguments: which parameters are the tool's arguments; all, if left out. `self` never is.
        result: makes the numbers that the tool is settled by out of what it returned. If left out, those are the
            numbers among the fields of a returned mapping, dataclass or model. `report` adds to them.
        cost: what a call cost, in dollars, or what tells that of the returned value; for tools whose price takes the
            agent's word for it.
        name: makes a name for a call out of its arguments: what has the same name is the same call, and once it was
            settled it is not made again.
        customer: the registered customer whom the calls serve, or what tells it of the arguments.
        approval_within_s: how long a call waits for a person's word, where one has to agree; 0 raises at once.
        fail_open: run the tool even if the gateway can't be asked. Each such call is logged as an error, and told to
            the gateway once it answers.

    The guarded function raises what the function raises, and before it is run:
        Refused: the gateway decided against it.
        Unavailable: the gateway can't be asked.
        InvalidRequest: the arguments make no sense to the gateway.
        Unauthorized: the key is none.
    """
    made = _Guard(
        tool=tool,
        client=client,
        result=result,
        cost=cost,
        name=name,
        customer=customer,
        approval_within_s=approval_within_s,
        fail_open=fail_open,
    )

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", made.around(function, Arguments(function, arguments)))

    return decorated


@dataclass(frozen=True, kw_only=True)
class _Guard:
    tool: str
    client: Aegis | AsyncAegis | None
    result: Callable[[Any], Mapping[str, Any]] | None
    cost: Cost
    name: Callable[..., str] | None
    customer: Callable[..., str | None] | str | None
    approval_within_s: float
    fail_open: bool

    def around(self, function: Callable[..., Any], arguments: Arguments) -> Callable[..., Any]:
        """A function like another, guarded."""
        kinds = (
            (inspect.isasyncgenfunction, self._async_generator),
            (inspect.iscoroutinefunction, self._coroutine),
            (inspect.isgeneratorfunction, self._generator),
        )
        called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004 - asked of the method, as callable objects are no coroutine functions
        wrap = next((wrap for is_one, wrap in kinds if is_one(function) or is_one(called)), self._plain)
        return functools.update_wrapper(wrap(function, arguments), function)

    def _plain(self, function: Callable[..., Any], arguments: Arguments) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            call, client = _Call(self, arguments, args, kwargs), client_for(self.client)
            call.ask(client)
            try:
                with within(call.scope):
                    value = function(*call.bound.args, **call.bound.kwargs)
            except BaseException as error:
                call.failed(client, error)
                raise
            client.finish(call.returned(value))
            return value

        return guarded

    def _coroutine(self, function: Callable[..., Any], arguments: Arguments) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            call, client = _Call(self, arguments, args, kwargs), async_client_for(self.client)
            await call.ask_async(client)
            try:
                with within(call.scope):
                    value = await function(*call.bound.args, **call.bound.kwargs)
            except BaseException as error:
                await call.failed_async(client, error)
                raise
            await client.finish(call.returned(value))
            return value

        return guarded

    def _generator(self, function: Callable[..., Any], arguments: Arguments) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            call, client = _Call(self, arguments, args, kwargs), client_for(self.client)
            call.ask(client)
            generator = function(*call.bound.args, **call.bound.kwargs)
            step: Callable[[], Any] = functools.partial(next, generator)
            while True:
                try:
                    with within(call.scope):
                        item = step()
                except StopIteration as end:
                    client.finish(call.returned(end.value))
                    return end.value
                except BaseException as error:
                    call.failed(client, error)
                    raise
                try:
                    sent = yield item
                except GeneratorExit as left:
                    step = functools.partial(_closed, generator, left)
                except BaseException as thrown:
                    step = functools.partial(generator.throw, thrown)
                else:
                    step = functools.partial(generator.send, sent)

        return guarded

    def _async_generator(self, function: Callable[..., Any], arguments: Arguments) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            call, client = _Call(self, arguments, args, kwargs), async_client_for(self.client)
            await call.ask_async(client)
            generator = function(*call.bound.args, **call.bound.kwargs)
            step: Callable[[], Any] = generator.__anext__
            while True:
                try:
                    with within(call.scope):
                        item = await step()
                except StopAsyncIteration:
                    await client.finish(call.returned(None))
                    return
                except BaseException as error:
                    await call.failed_async(client, error)
                    raise
                try:
                    sent = yield item
                except GeneratorExit as left:
                    step = functools.partial(_closed_async, generator, left)
                except BaseException as thrown:
                    step = functools.partial(generator.athrow, thrown)
                else:
                    step = functools.partial(generator.asend, sent)

        return guarded


class _Call:
    """One call of a guarded function, from its arguments to its outcome."""

    def __init__(
        self, guard: _Guard, arguments: Arguments, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._guard = guard
        self._arguments = arguments
        self.bound = bound = arguments.bound(args, kwargs)
        customer = guard.customer
        self._call = named(
            ToolCall(
                tool=guard.tool,
                arguments=arguments.of(bound),
                customer=customer(*bound.args, **bound.kwargs) if callable(customer) else customer,
                name=guard.name(*bound.args, **bound.kwargs) if guard.name is not None else None,
            )
        )
        self._decision: Decision | None = None
        self.scope = Scope(run=current_run())

    def ask(self, client: Aegis) -> None:
        """Have it decided; returns if it may be run."""
        try:
            decision = client.decide_call(self._call, undo=not self._guard.fail_open)
            if self._waits(decision):
                client.wait_for_approval(decision, self._guard.approval_within_s)
                decision = client.decide_call(self._call, undo=not self._guard.fail_open)
        except Unavailable as fault:
            self._unasked(fault)
            return
        try:
            self._allowed(decision)
        except BaseException:
            if decision.allowed:
                client.finish(self._outcome(decision, "release"))
            raise

    async def ask_async(self, client: AsyncAegis) -> None:
        """The same without blocking."""
        try:
            decision = await client.decide_call(self._call, undo=not self._guard.fail_open)
            if self._waits(decision):
                await client.wait_for_approval(decision, self._guard.approval_within_s)
                decision = await client.decide_call(self._call, undo=not self._guard.fail_open)
        except Unavailable as fault:
            self._unasked(fault)
            return
        try:
            self._allowed(decision)
        except BaseException:
            if decision.allowed:
                await client.finish(self._outcome(decision, "release"))
            raise

    def returned(self, value: Any) -> Outcome:
        """What it came to."""
        result: dict[str, Any] = dict(self.scope.reported)
        cost: Money | None = None
        try:
            result.update(self._guard.result(value) if self._guard.result is not None else numbers_of(value))
            cost = self._guard.cost(value) if callable(self._guard.cost) else self._guard.cost
        except Exception:  # the tool has run: what it returned is its caller's all the same
            _log.exception(
                "`result` or `cost` of the guard of `%s` failed; settled without", self._guard.tool
            )
        return self._outcome(self._decision, "settle", result, cost)

    def failed(self, client: Aegis, error: BaseException) -> None:
        """It raised: told now, or later if the thread is to end at once."""
        outcome = self._raised(error)
        if isinstance(error, Exception):
            client.finish(outcome)
        else:
            client.finish_later(outcome)

    async def failed_async(self, client: AsyncAegis, error: BaseException) -> None:
        """The same without blocking; a cancelled task does not wait for it."""
        outcome = self._raised(error)
        if isinstance(error, Exception):
            await client.finish(outcome)
        else:
            client.finish_later(outcome)

    def _raised(self, error: BaseException) -> Outcome:
        """What it came to, as far as that is known; nothing only if it says that it did nothing."""
        if isinstance(error, NotRun) and error.take():
            return self._outcome(self._decision, "release")
        return self._outcome(self._decision, "settle", self.scope.reported)

    def _waits(self, decision: Decision) -> bool:
        """Whether it is to be waited for a person's word on it."""
        return self._guard.approval_within_s > 0 and decision.approval is not None and decision.approval.waits

    def _allowed(self, decision: Decision) -> None:
        decision.check()
        if decision.is_redacted:
            self._arguments.put_back(self.bound, self._call.arguments, decision.arguments)
        self._decision = decision
        self.scope = scope_of_call(decision.id, decision.run)

    def _unasked(self, fault: Unavailable) -> None:
        if not self._guard.fail_open:
            raise fault
        _log.error("`%s` is run without a decision, as its guard fails open: %s", self._guard.tool, fault)

    def _outcome(
        self,
        decision: Decision | None,
        kind: Any,
        result: Mapping[str, Any] | None = None,
        cost: Money | None = None,
    ) -> Outcome:
        return Outcome(call=self._call, decision=decision, kind=kind, result=dict(result or {}), cost=cost)


def _closed(generator: Generator[Any, Any, Any], left: GeneratorExit) -> None:
    """Close a generator whose consumer has left, which then has ended like that too."""
    generator.close()
    raise left


async def _closed_async(generator: AsyncGenerator[Any, Any], left: GeneratorExit) -> None:
    await generator.aclose()
    raise left
