"""A call's way in: identify, quote, judge, admit — and its way out: settle. Every door is built on these.

Rule 1: nothing is forwarded before `decide` has returned an `allow`; by then the decision is on disk.
Rule 2: whatever a door learns about the cost ends in exactly one of `settle` and `lose`; where that could not be
        written at once it is written as soon as the ledger takes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aegis_gateway.application.admission import admission_of, stored_name
from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.asking_ledger import AsyncLedger
from aegis_gateway.application.call_context import NO_CONTEXT, CallContext, Leaves
from aegis_gateway.application.call_ids import CallIds
from aegis_gateway.application.callers import Callers
from aegis_gateway.application.callers_runs import JUDGED_AGAIN_MAX, CallersRuns
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    Keep,
    Known,
    Lose,
    Moved,
    Settle,
    Stale,
)
from aegis_gateway.application.considered import NEW_RUN, Considered, considered_as
from aegis_gateway.application.decided import AnswerRedaction, Decided
from aegis_gateway.application.directory import Directory, TenantView
from aegis_gateway.application.judgement import Circumstances, D, Describe, Described
from aegis_gateway.application.measuring import RememberedMeasures
from aegis_gateway.application.pace import CallTimer, Pace
from aegis_gateway.application.ports import Clock, NameKey
from aegis_gateway.application.runs import Runs, recorded_run
from aegis_gateway.application.tracing import CallAsked, CallSpan, Observer, SpanNote, Trace
from aegis_gateway.application.waiting_calls import NotSent, WaitingCalls
from aegis_gateway.domain.errors import (
    AegisError,
    CallError,
    CallRepeated,
    LedgerUnavailable,
    UpstreamFault,
)
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.measure import Measure
from aegis_gateway.domain.registry import Agent
from aegis_gateway.domain.trace_place import TracePlace, trace_place

UTILISATIONS_REMEMBERED_MAX = 65_536

CATCH_UP_INTERVAL_S = 1.0
CATCH_UP_BATCH = 256


class Calls:
    """The use cases of the hot path, over a directory and a ledger.

    `callers` tells who calls, `runs` opens, ends and reports on runs of theirs.
    """

    def __init__(
        self,
        directory: Directory,
        ledger: AsyncLedger,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        pepper: bytes,
        approvals: ApprovalWatch | None = None,
        observer: Observer | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`pepper` is the installation's secret that keys and arguments are hashed under. `approvals` waits for
        people's words, where anybody does; `observer` is told of calls, where there is telemetry. `pace` is where
        durations and failures are counted.
        """
        self._directory = directory
        self._ledger = ledger
        self._clock = clock
        self._random_bytes = random_bytes
        self.approvals = approvals
        self._observer = observer
        self.pace = pace or Pace()
        self._ids = CallIds(pepper, random_bytes)
        self.callers = Callers(directory, clock, random_bytes, pepper)
        self.runs = CallersRuns(directory, ledger, clock, self.callers, Runs(pepper, random_bytes), self._ids)
        self._utilisations: dict[tuple[str, str], int] = {}
        self._measures = RememberedMeasures()
        self._turns = WaitingCalls(ledger, self._ask_later)
        self._late: list[Settle | Lose | NotSent] = []
        self._catching_up: asyncio.Task[None] | None = None

    @property
    def directory(self) -> Directory:
        """What is in force, as this process has it."""
        return self._directory

    async def decide(
        self,
        key: str | None,
        describe: Describe[D],
        context: CallContext = NO_CONTEXT,
    ) -> Decided[D]:
        """Identify, quote, judge and admit a call; what is returned is on disk.

        `describe` is asked again when the registry changed in between: prices, limits and policies are those of
        the epoch under which the ledger admits.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
            CallRepeated: its name is that of a call before; nothing was decided.
            LedgerUnavailable: the decision could not be made durable.
        """
        span = None if self._observer is None else self._observer.begin(context.trace)
        try:
            return await self._decide(key, describe, context, span)
        except CallRepeated as fault:
            if span is not None:
                span.repeated(fault.first)
            raise
        except BaseException as fault:  # the span of one that is cancelled ends too
            if isinstance(fault, AegisError):
                self.pace.undecided(context.door, fault)
            if span is not None:
                span.undecided(_why_undecided(fault))
            raise

    async def _decide(
        self, key: str | None, describe: Describe[D], context: CallContext, span: CallSpan | None
    ) -> Decided[D]:
        call, run = "", ""
        utilisation: int | None = None
        timer = self.pace.begin(context.door, context.read_ns)
        await self._directory.keep_current(self._clock.now_ns())
        for _ in range(JUDGED_AGAIN_MAX):
            considered = await self._considered(key, describe, context, utilisation, run)
            if considered is None:
                continue
            view, judgement, run = considered.view, considered.judgement, considered.circumstances.run
            tenant, agent = view.registry.tenant, considered.agent
            call = call or self._ids.mint(tenant, considered.circumstances.depth, self._clock.now_ns())
            place = _place(span, context.trace)
            command = admission_of(call, considered, context, place, self._random_bytes)
            if span is not None:
                span.asked(CallAsked(command=command, registry=view.registry, mcp=context.mcp))
            reply = await self._ledger.ask(command)
            if isinstance(reply, Admitted):
                timer.decided(tenant, judgement.described.connector, reply.effect)
                if span is not None:
                    span.decided(reply)
                if reply.wait_ns:
                    await self._wait(command, reply, context.leaves, span)
                    timer.waited()
                return Decided(
                    call=call,
                    tenant=tenant,
                    described=judgement.described,
                    admitted=reply,
                    policy_version=command.policy_version,
                    budgets=command.budgets,
                    run=run,
                    name=command.name.name if command.name is not None else None,
                    downgraded_from=judgement.downgraded_from,
                    answer=AnswerRedaction(
                        redaction=judgement.verdict.redactions.response,
                        watched=judgement.watched,
                        key=view.redaction_key,
                    ),
                    own_credential=considered.key.is_own_credential,
                    judged_ns=considered.circumstances.now_ns,
                    span=span,
                    timer=timer,
                    place=place,
                )
            if isinstance(reply, Known):
                raise CallRepeated(reply.first, is_same=reply.is_same, described=judgement.described)
            if isinstance(reply, Stale) and reply.measures is not None:
                self._measures.learn(tenant, agent.id, considered.judged_against, reply.measures)
                if reply.utilisation is not None:
                    utilisation = reply.utilisation
                    if len(self._utilisations) >= UTILISATIONS_REMEMBERED_MAX:
                        self._utilisations.clear()
                    self._utilisations[tenant, agent.id] = utilisation
            elif isinstance(reply, Stale):
                await self._directory.refresh(tenant, reply.epoch)
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")

    async def consider(
        self,
        key: str | None,
        describe: Describe[D],
        context: CallContext = NO_CONTEXT,
        utilisation: int = 0,
        measures: tuple[Measure, ...] = (),
    ) -> Considered[D]:
        """Judge a call that nobody makes, as far as `decide` would before it asks the ledger. It opens no run.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
        """
        await self._directory.keep_current(self._clock.now_ns())
        for _ in range(JUDGED_AGAIN_MAX):
            run = NEW_RUN if context.run is None else ""
            considered = await self._considered(key, describe, context, utilisation, run, measures)
            if considered is not None:
                return considered
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")

    async def _considered(
        self,
        key: str | None,
        describe: Describe[D],
        context: CallContext,
        utilisation: int | None,
        run: str = "",
        measures: tuple[Measure, ...] | None = None,
    ) -> Considered[D] | None:
        """Identify, quote and judge a call by the copy of the moment; None where there is a newer one, to try again by.

        `run` is what was minted for it before.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
        """
        known = await self.callers.identify(key)
        view, copy = known.view, self._directory.copy
        try:
            asker = agent = self.callers.valid_agent(known)
            if context.subject is not None and context.subject != asker.id:
                view, agent = self._asked_for(asker, view, context.subject)
            tenant = view.registry.tenant
            of_run = recorded_run(run) if run else self.runs.of_call(context, view, agent, known.key)
            above = self.runs.delegators(of_run, view)
            parent = context.parent or of_run.parent
            depth = max(self._ids.depth_below(parent, tenant), of_run.depth)
            _check_customer(context.customer, view)
            circumstances = Circumstances(
                now_ns=self._clock.now_ns(),
                run=of_run.id,
                run_scope=of_run.scope,
                owner=above[0][0].owner if above else "",
                parent=parent,
                depth=depth,
                customer=context.customer,
                utilisation=self._utilisations.get((tenant, agent.id), 0)
                if utilisation is None
                else utilisation,
            )
            return considered_as(
                view,
                agent,
                known.key,
                describe,
                circumstances,
                of_run,
                above,
                opens_run=context.run is None,
                asker=asker,
                measures=self._measures.of(tenant, agent.id) if measures is None else measures,
            )
        except CallError:
            # What is wrong by this copy may be right by now, and no ledger will say so: look before saying no.
            await self._directory.refresh_if_changed()
            if self._directory.copy is copy:
                raise
            return None

    def _asked_for(self, asker: Agent, view: TenantView, subject: str) -> tuple[TenantView, Agent]:
        """Whose call it is that another asks for, and the view that it is decided under.

        Raises:
            CallError: the asker may not ask for that agent, or there is none; with status 403.
        """
        agent = view.registry.agents.get(subject)
        if not asker.may_ask_for(subject) or agent is None:
            raise CallError(
                f"agent `{asker.id}` may not ask for `{subject[:128]}`; its `asks_for` says for which agents it may",
                status=403,
                field="subject",
            )
        view = self._directory.copy.view_of(view.registry.tenant, subject) or view
        return view, view.registry.agents.get(subject, agent)

    async def settle(self, decided: Decided[Described], evidence: Evidence) -> Moved:
        """Replace a call's reservation by what it really cost.

        Raises:
            LedgerUnavailable: it is not on disk yet; until it is, the call stays at its maximum.
        """
        command = Settle(call=decided.call, tenant=decided.tenant, evidence=evidence)
        span = decided.span if decided.span is not None else self._resumed(decided.call, decided.note)
        return await self._settled(command, span, decided.timer)

    async def settle_call(
        self, tenant: str, call: str, evidence: Evidence, note: SpanNote | None = None
    ) -> Moved:
        """The same, of a call that was decided earlier; `note` is what is known of its span.

        Raises:
            LedgerUnavailable: it is not on disk yet; until it is, the call stays at its maximum.
            IllegalTransition: it was settled at another cost before, or was never allowed.
        """
        command = Settle(call=call, tenant=tenant, evidence=evidence)
        return await self._settled(command, self._resumed(call, note))

    def _resumed(self, call: str, note: SpanNote | None) -> CallSpan | None:
        return None if note is None or self._observer is None else self._observer.resumed(call, note)

    async def _settled(self, command: Settle, span: CallSpan | None, timer: CallTimer | None = None) -> Moved:
        if span is None:
            return await self._moved(command, timer)
        began_ns = time.monotonic_ns()
        try:
            moved = await self._moved(command, timer)
        except LedgerUnavailable:
            span.lost("what it cost is not written yet")
            raise
        except BaseException:  # it was settled otherwise, or the gateway stops
            span.lost("this settlement was not taken", "not_settled")
            raise
        span.settled(command.evidence, moved, time.monotonic_ns() - began_ns)
        return moved

    async def lose(self, decided: Decided[Described], reason: str) -> Moved:
        """Put a call in doubt that was sent and whose cost nobody knows; it stays at its maximum.

        Raises:
            LedgerUnavailable: it is not on disk yet; the call stays at its maximum all the same.
        """
        if decided.span is not None:
            decided.span.lost("in doubt")
        command = Lose(call=decided.call, tenant=decided.tenant, reason=reason)
        return await self._moved(command, decided.timer)

    def handed_over(self, decided: Decided[Described]) -> None:
        """Whoever asked does by themselves what was allowed."""
        if decided.timer is not None:
            decided.timer.handed_over()
        if decided.span is not None:
            decided.span.handed_over()

    def upstream_answered(self, decided: Decided[Described], status: int) -> None:
        """The upstream's whole answer is here, with this status; what follows is the gateway's time."""
        if decided.timer is not None:
            decided.timer.answered()
            decided.timer.upstream_answered(status)

    def upstream_failed(self, decided: Decided[Described], fault: UpstreamFault) -> None:
        """The upstream gave no answer, or none to the end."""
        if decided.timer is not None:
            decided.timer.upstream_failed(fault)

    async def keep(self, tenant: str, call: str, answer: bytes | None, *, may_repeat: bool) -> None:
        """Keep what was answered to a named call, encrypted; nothing is kept of it where `answer` is None.

        `may_repeat`: the answer said to try again, so if nothing was charged the name is free again.

        Raises:
            LedgerUnavailable: it is not on disk. Whoever repeats the call is told that its answer is not kept.
        """
        await self._ledger.ask(Keep(call=call, tenant=tenant, answer=answer, may_repeat=may_repeat))

    async def name_key(self, key: str | None, name: str) -> NameKey:
        """The full name of a caller's name for a call.

        Raises:
            NotIdentified: the caller is unknown.
        """
        known = await self.callers.identify(key)
        agent = known.key.agent
        return (known.view.registry.tenant, agent, stored_name(known.view, agent, name))

    async def _moved(self, command: Settle | Lose, timer: CallTimer | None = None) -> Moved:
        if timer is not None:
            timer.answered()
        try:
            reply = await self._ledger.ask(command)
        except LedgerUnavailable:
            self.pace.settlement(command.tenant, "late")
            self._ask_later(command)
            raise
        finally:
            if timer is not None:
                timer.ended()
        if not isinstance(reply, Moved):
            raise LedgerUnavailable("the ledger gave an answer that is none")
        self._count(reply, command.tenant)
        return reply

    def _count(self, moved: Moved, tenant: str) -> None:
        if not moved.again:
            self.pace.settlement(tenant, "in_doubt" if moved.state == "in_doubt" else "settled")

    def _ask_later(self, command: Settle | Lose | NotSent) -> None:
        self._late.append(command)
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Ask again, until the ledger has taken what became of each call, or knows it already."""
        try:
            while self._late:
                await asyncio.sleep(CATCH_UP_INTERVAL_S)
                batch, self._late = self._late[:CATCH_UP_BATCH], self._late[CATCH_UP_BATCH:]
                asked = [self._ledger.ask(command) for command in batch]
                replies = await asyncio.gather(*asked, return_exceptions=True)
                for command, reply in zip(batch, replies, strict=True):
                    if isinstance(reply, Moved) and isinstance(command, Settle | Lose):
                        self._count(reply, command.tenant)
                self._late += [
                    command
                    for command, reply in zip(batch, replies, strict=True)
                    if isinstance(reply, LedgerUnavailable)
                ]
        finally:
            self._catching_up = None

    async def _wait(
        self, command: Admit, admitted: Admitted, leaves: Leaves | None, span: CallSpan | None
    ) -> None:
        """Wait for a reserved call's turn, and win its dispatch; a span of one that doesn't get there ends.

        Raises:
            CallerLeft: the caller left meanwhile; it is not sent.
            LedgerUnavailable: too many wait already, its reservation ran out or the gateway stops; it is not sent.
        """
        try:
            await self._turns.win(command, admitted, leaves)
        except BaseException:  # whoever waits for it may leave, or the gateway stop
            if span is not None:
                span.lost("it waited for its turn and was not sent", "not_sent")
            raise

    def hang_up(self) -> None:
        """The gateway stops: calls that wait for their turn are given up, and none waits any more."""
        self._turns.hang_up()


def _why_undecided(fault: BaseException) -> str:
    """Why nobody decided a call, as a code."""
    match fault:
        case LedgerUnavailable():
            return "ledger_unavailable"
        case asyncio.CancelledError():
            return "cancelled"
        case CallError():
            return "not_taken"
        case _:
            return "failed"


def _place(span: CallSpan | None, told: Trace | None) -> TracePlace | None:
    """Where a call stands in a trace: at its span, or where its caller says that it stands itself."""
    trace = told if span is None else span.trace
    return None if trace is None else trace_place(trace.parent)


def _check_customer(customer: str | None, view: TenantView) -> None:
    """Make sure that a call may be put down to whom its caller says that it serves.

    Raises:
        CallError: the customer is not registered.
    """
    if customer is not None and customer not in view.registry.customers:
        raise CallError(
            f"customer `{customer[:64]}` is not registered; add it under `customers`, or leave `Aegis-Customer` out",
            field="aegis-customer",
        )
