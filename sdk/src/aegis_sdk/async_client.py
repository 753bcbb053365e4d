"""The client for event loops."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from aegis_sdk.async_connections import AsyncConnections
from aegis_sdk.client_base import ClientBase, Waiting
from aegis_sdk.context import below, in_scope, place, unopened_run, wait_for_async
from aegis_sdk.decision import Approval, Decision, Money, OpenedRun, RunOutcome, Settlement, ToolCall
from aegis_sdk.errors import AegisError, Unauthorized, Unavailable
from aegis_sdk.estimate import Estimate
from aegis_sdk.http1 import Request, Response
from aegis_sdk.settings import Settings
from aegis_sdk.settler import Outcome, outcome_request
from aegis_sdk.wire import (
    batch_request,
    batches,
    decide_request,
    end_run_request,
    estimate_request,
    find_request,
    named,
    open_run_request,
    outcome_of_run_request,
    read_approval,
    read_batch,
    read_decision,
    read_ended_run,
    read_estimate,
    read_run,
    read_settlement,
    read_told_outcome,
    release_request,
    settle_request,
)


class AsyncAegis(ClientBase):
    """Asks the gateway without blocking. Tasks may share one, of as many event loops as there are."""

    def _begin(self, settings: Settings) -> None:
        super()._begin(settings)
        self._connections = AsyncConnections(settings)

    async def __aenter__(self) -> AsyncAegis:
        """Itself; it is closed at the block's end."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def decide(
        self,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        run: str | None = None,
        parent: str | None = None,
        customer: str | None = None,
        name: str | None = None,
    ) -> Decision:
        """Have a call decided, and its maximum reserved. A refusal is a decision too; `check` raises it.

        Run and parent are those of the code that asks, if not given. The same again by its `name` is the same decision.

        Raises:
            Unavailable: the gateway does not answer: the tool must not be run.
            InvalidRequest: the call makes no sense.
            Unauthorized: the key is none.
        """
        call = ToolCall(
            tool=tool, arguments=arguments or {}, run=run, parent=parent, customer=customer, name=name
        )
        return await self.decide_call(call)

    async def decide_call(self, call: ToolCall, *, undo: bool = True) -> Decision:
        """The same, of a call as one value. `undo`: if the answer never comes, the gateway is told that it is not made.

        Raises:
            AegisError: as `decide`.
        """
        call, unopened = in_scope(named(call))
        while unopened is not None and unopened.id is None:
            opening = unopened.claim()
            if opening is not None:
                await wait_for_async(opening, self.settings.timeout_s)
                continue
            id = None
            try:
                decision = await self._decide(call, undo=undo)
                id = decision.run
            finally:
                unopened.opened(id)
            return decision
        if unopened is not None:
            call = dataclasses.replace(call, run=unopened.id)
        return await self._decide(call, undo=undo)

    async def decide_many(self, calls: Iterable[ToolCall]) -> list[Decision | AegisError]:
        """Have many calls decided, each by itself; the error in the place of each that makes no sense.

        Raises:
            AegisError: as `decide`, of all of them.
        """
        asked = list(calls)
        decided: list[Decision | AegisError] = []
        while unopened_run() is not None and any(
            call.run is None for call in asked
        ):  # alone, until one has opened it
            try:
                decided.append(await self.decide_call(asked.pop(0)))
            except (Unavailable, Unauthorized):
                raise
            except AegisError as fault:
                decided.append(fault)
        for batch in batches([in_scope(named(call))[0] for call in asked]):
            try:
                decided += read_batch(await self._exchange(batch_request(batch)), batch)
            except BaseException as fault:
                for call in batch:
                    self._undo(call, fault)
                raise
        return decided

    async def estimate(
        self,
        tool: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        request: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        max_output_tokens: int | None = None,
        api: str | None = None,
        run: str | None = None,
        parent: str | None = None,
        customer: str | None = None,
    ) -> Estimate:
        """What a call would cost, what would be decided, what is left, and what cheaper models would do.

        Of a tool with its arguments; or of a model, with the request that would be sent to its API or with a prompt
        alone. `api` says which API that is, where the request doesn't tell. Nothing is recorded or reserved.

        Raises:
            AegisError: nobody can say, or the gateway does not answer.
        """
        run, parent = place(run, parent)
        asked = estimate_request(
            tool=tool,
            arguments=arguments,
            model=model,
            request=request,
            prompt=prompt,
            max_output_tokens=max_output_tokens,
            api=api,
            run=run,
            parent=parent,
            customer=customer,
        )
        return read_estimate(await self._exchange(asked))

    async def settle(
        self, decision: Decision, result: Mapping[str, Any] | None = None, *, cost: Money | None = None
    ) -> Settlement:
        """Settle a call that was run, by the numbers of its result that price and counts are read from.

        `cost` states what it cost, in dollars, where the tool's price takes the agent's word for that.

        Raises:
            AegisError: it is not settled, and stays at its maximum. Settling alike again does no harm.
        """
        return read_settlement(await self._exchange(settle_request(decision, result, cost)))

    async def release(self, decision: Decision) -> Settlement:
        """Settle a call at nothing that was not run.

        Raises:
            AegisError: it is not released, and stays at its maximum.
        """
        return read_settlement(await self._exchange(release_request(decision)))

    async def find(self, id: str) -> Decision:
        """How a call stands.

        Raises:
            AegisError: the key's agent has none of that id, or the gateway does not answer.
        """
        return read_decision(await self._exchange(find_request(id)), ToolCall(tool=""))

    async def wait_for_approval(self, approval: str | Decision, within_s: float) -> Approval:
        """Wait until a request for a person's word is decided, for so long at most; how it then stands.

        A decision stands for the request that it is about. Once it is granted, the same call again is let through.

        Raises:
            AegisError: the key's agent has none of that id, or the gateway does not answer.
        """
        waiting = Waiting(approval, within_s, self.settings)
        while True:
            found = read_approval(await self._exchange(waiting.request()))
            if not found.waits or waiting.is_over:
                return found

    async def open_run(self, *, name: str | None = None) -> OpenedRun:
        """Open a run of one's own: below the call and in the run of the code that asks, if it is in any.

        The same again by its `name` is the same run. `with run(): …` opens one and ends it.

        Raises:
            Refused: there are too many, or it would be too deep.
            AegisError: as `decide`.
        """
        return await self._open(None, *below(), name)

    async def spawn(
        self, agent: str, *, parent: str | None = None, run: str | None = None, name: str | None = None
    ) -> OpenedRun:
        """Delegate a run to another agent, which works in it with its own key: `with run(ID): …`.

        It is below a call (`parent`) or in a `run` of one's own: those of the code that asks, if neither is given. What
        is called in it counts on the budgets of those who delegated it as well.

        Raises:
            Refused: there are too many, or it would be too deep.
            AegisError: as `decide`.
        """
        if parent is None and run is None:
            parent, run = below()
        return await self._open(agent, parent, run, name)

    async def end_run(self, id: str) -> None:
        """End a run, and what was delegated in it: nothing is called in them any more.

        Raises:
            AegisError: it isn't this key's, or the gateway does not answer.
        """
        read_ended_run(await self._exchange(end_run_request(id)))

    async def report_outcome(self, run: str, outcome: RunOutcome) -> None:
        """Say what became of a run of one's own. It replaces what was said before; the record keeps both.

        Raises:
            AegisError: it isn't this key's run, it can't have come to that, or the gateway does not answer.
        """
        read_told_outcome(await self._exchange(outcome_of_run_request(run, outcome)))

    async def finish(self, outcome: Outcome) -> None:
        """Tell what became of a call, now or, if that fails, in the background. No failing of the gateway is raised."""
        if outcome.decision is None:
            self._settler.put(outcome)
            return
        trying: Outcome | None = outcome
        while trying is not None:
            try:
                read_settlement(await self._exchange(outcome_request(trying)))
                return
            except Exception as fault:
                trying = self._not_told(trying, fault)
            except BaseException:
                # The task is cancelled: it ends now, and what it did is told all the same.
                self._settler.put(trying)
                raise

    async def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what could not be told to the gateway at once is told; whether it is."""
        return await asyncio.to_thread(
            self._settler.flush, self.settings.timeout_s if timeout_s is None else timeout_s
        )

    async def close(self) -> None:
        """Close this loop's connections, after what is still to be told has had its time."""
        if self.pending:
            await self.flush()
        await self._connections.close()

    async def _open(
        self, agent: str | None, parent: str | None, run: str | None, name: str | None
    ) -> OpenedRun:
        return read_run(await self._exchange(open_run_request(agent, parent, run, name)))

    async def _decide(self, call: ToolCall, *, undo: bool) -> Decision:
        try:
            return read_decision(await self._exchange(decide_request(call)), call)
        except BaseException as fault:
            if undo or not isinstance(
                fault, Unavailable
            ):  # whoever is cut short meanwhile runs nothing either
                self._undo(call, fault)
            raise

    async def _exchange(self, request: Request) -> Response:
        return await self._connections.exchange(request)
