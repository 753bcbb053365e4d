"""A call's way in: identify, quote, judge, admit — and its way out: settle. Every door is built on these.

Rule 1: nothing is forwarded before `decide` has returned an `allow`; by then the decision is on disk.
Rule 2: whatever a door learns about the cost ends in exactly one of `settle` and `lose`; where that could not be
        written at once it is written as soon as the ledger takes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol

import msgspec

from aegis_gateway.application.approval_claims import claim_of
from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.asked import asked_record
from aegis_gateway.application.call_ids import DEPTH_MAX, CallIds
from aegis_gateway.application.claims import claims_of, rates_of_opening
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    ArgumentsRecord,
    Attribution,
    CallName,
    Command,
    Dispatch,
    Ended,
    EndRun,
    Keep,
    Known,
    Lose,
    Moved,
    Opened,
    OpenRun,
    Release,
    Reply,
    Settle,
    Stale,
    TellOutcome,
    Told,
)
from aegis_gateway.application.directory import Directory, KnownKey, TenantView
from aegis_gateway.application.judgement import (
    Circumstances,
    D,
    D_co,
    Describe,
    Described,
    Judgement,
    judgement_of,
    no_measures,
)
from aegis_gateway.application.measuring import RememberedMeasures, measures_on, with_thresholds_of
from aegis_gateway.application.pace import CallTimer, Pace
from aegis_gateway.application.ports import Clock, NameKey
from aegis_gateway.application.runs import (
    RUN_CHARACTERS,
    Delegator,
    KnownRun,
    Runs,
    recorded_run,
    refuse_over,
)
from aegis_gateway.application.tracing import CallAsked, CallSpan, Observer, SpanNote, Trace
from aegis_gateway.application.visibility import reach_of
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Effect, Reason, Shadow, Throttle, would_deny
from aegis_gateway.domain.errors import (
    AegisError,
    CallError,
    CallRepeated,
    IllegalTransition,
    KeyFormatError,
    LedgerUnavailable,
    UpstreamFault,
)
from aegis_gateway.domain.judge import Reach
from aegis_gateway.domain.keys import OUR_KEYS, check_key, key_hash
from aegis_gateway.domain.ledger import Evidence, Standing
from aegis_gateway.domain.limits import limit_of
from aegis_gateway.domain.measure import Measure
from aegis_gateway.domain.outcome import Report
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.redaction import Counts, Redaction
from aegis_gateway.domain.registry import (
    Agent,
    Key,
    credential_key,
    stranger,
)
from aegis_gateway.domain.replication import IDLE_NS, RunClaim, too_deep
from aegis_gateway.domain.reuse import is_reusable, request_number
from aegis_gateway.domain.trace_place import TracePlace, trace_place

_JUDGED_AGAIN_MAX = 8

WAITING_MAX = 1_024
"""How many calls of one worker may wait for a rate limit's next turn."""

UTILISATIONS_REMEMBERED_MAX = 65_536

CATCH_UP_INTERVAL_S = 1.0
CATCH_UP_BATCH = 256

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255

BALANCES_MAX = 128
"""On how many balances a call may count that was delegated: its entry names each, and has to fit into a leaf."""


NEW_RUN = "run_new"
"""The run that a call is considered as being of that would open one."""


class AsyncLedger(Protocol):
    """The ledger, asked without blocking."""

    async def ask(self, command: Command) -> Reply:
        """Have a command carried out; the answer is on disk when this returns.

        Raises:
            LedgerUnavailable: it was not done, or it is not known whether it was.
        """


class NotIdentified(CallError):
    """The caller could not be identified; nothing was recorded, there is no tenant to record it for."""

    is_identified = False


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says of a call beside the request itself, as its door found it; nothing of it is trusted yet.

    `run` and `parent` are ids that Aegis gave before, `customer` whom the call serves. `retry` counts the attempts
    that a client's library made before this one, and `idempotency_key` names the call across attempts. `address` is
    the method, path and query that a named call was asked with. `patience_ns` is the longest that the call may wait for
    a rate's next turn, where its door can't wait for as long as rates are configured to delay. `subject` is the
    agent whose call it is, where another asks for it. `approval` is the one that the caller means to use. `trace` is
    the caller's place in its trace, `mcp` what telemetry is told of the message of that protocol. `door` is where it
    came in, and `read_ns` how long it took to read, its way here left out.
    """

    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    retry: int = 0
    idempotency_key: str | None = None
    address: str = ""
    patience_ns: int | None = None
    subject: str | None = None
    approval: str | None = None
    trace: Trace | None = None
    mcp: dict[str, str] = {}
    door: str = ""
    read_ns: int = 0


NO_CONTEXT = CallContext()


class AnswerRedaction(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be redacted in a call's answer, under the tenant's `key`; what redactions in shadow are watched."""

    redaction: Redaction = Redaction()
    watched: tuple[Shadow, ...] = ()
    key: bytes = b""

    def __bool__(self) -> bool:
        """Whether the answer has to be looked into."""
        return bool(self.redaction or self.watched)


class Decided(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A decision that is on disk, with what the door needs to carry it out and to settle it.

    `name` is what the upstream may know of the caller's name for the call. `own_credential`: the caller brought the
    upstream's credential itself. `answer` is what is to be redacted in the answer; once that was done, `redacted` is
    what was, and `shadow` what redactions in shadow would have. `span` is the call's, where there is telemetry; where
    it was made elsewhere, `note` is what is known of it. `place` is what is kept of where it stands in a trace.
    `timer` is the call's stopwatch, at the worker that decided.
    """

    call: str
    tenant: str
    described: D_co
    admitted: Admitted
    policy_version: str
    budgets: tuple[BudgetClaim, ...]
    run: str
    name: str | None = None
    downgraded_from: str | None = None
    own_credential: bool = False
    answer: AnswerRedaction = AnswerRedaction()
    redacted: Counts = {}
    shadow: tuple[Shadow, ...] = ()
    judged_ns: int = 0
    span: CallSpan | None = None
    note: SpanNote | None = None
    timer: CallTimer | None = None
    place: TracePlace | None = None

    @property
    def trace(self) -> Trace | None:
        """The call's place in its trace, for what it leads to."""
        return self.span.trace if self.span is not None else None

    @property
    def allows(self) -> bool:
        """Whether the call may be forwarded."""
        return self.admitted.effect == "allow"


class Considered(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A call that was judged, and what it would count against; nothing of it is recorded or held."""

    view: TenantView
    key: Key
    agent: Agent
    circumstances: Circumstances
    judgement: Judgement[D_co]
    rates: tuple[RateClaim, ...]
    budgets: tuple[BudgetClaim, ...]
    run: RunClaim | None = None
    asker: Agent
    watched: tuple[BudgetClaim, ...] = ()

    @property
    def judged_against(self) -> tuple[BudgetClaim, ...]:
        """All budgets whose measures hold for it: those it counts on, and those it was asked against (`watched`)."""
        return (*self.budgets, *self.watched)

    @property
    def asked_by(self) -> str | None:
        """The agent that asks, where it is another than the one whose call it is."""
        return self.asker.id if self.asker.id != self.agent.id else None


class RunAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a caller wants opened: for an agent, below a call of its own (`parent`, in the run `above`), or in a
    run of its own. The same `name` is the same run.
    """

    agent: str | None = None
    run: str | None = None
    parent: str | None = None
    above: KnownRun | None = None
    name: str | None = None


class OpenedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was opened, or wasn't, for `reasons`."""

    run: KnownRun
    effect: Effect
    reasons: tuple[Reason, ...] = ()


class EndedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is ended, with so many below it. One that isn't counted can still be called in."""

    run: KnownRun
    below: int
    is_counted: bool


class Calls:
    """The use cases of the hot path, over a directory and a ledger."""

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
        self._pepper = pepper
        self.approvals = approvals
        self._observer = observer
        self.pace = pace or Pace()
        self._seen_key = random_bytes(32)
        self._runs = Runs(pepper, random_bytes)
        self._ids = CallIds(pepper, random_bytes)
        self._utilisations: dict[tuple[str, str], int] = {}
        self._measures = RememberedMeasures()
        self._waiting = 0
        self._late: list[Settle | Lose] = []
        self._catching_up: asyncio.Task[None] | None = None

    @property
    def directory(self) -> Directory:
        """What is in force, as this process has it."""
        return self._directory

    async def identify(self, key: str | None) -> KnownKey:
        """Tell who calls by an API key.

        Raises:
            NotIdentified: no key, a malformed one, one nobody issued, or one that is no longer valid.
        """
        if not key:
            raise NotIdentified(
                "no API key was given; send `Authorization: Bearer aegis_live_…`, issued by `aegis key issue AGENT`",
                status=401,
            )
        # A key seen before is found by a cheap keyed hash; the expensive one is of the stored form.
        seen = hashlib.blake2b(key.encode(), key=self._seen_key, digest_size=16).digest()
        known = self._directory.copy.seen.get(seen)
        if known is None:
            known = await self._identify_unseen(key)
            if known.key.hash in self._directory.copy.keys:
                self._directory.copy.seen[seen] = known
        return known

    async def valid_caller(self, key: str | None) -> KnownKey:
        """Who calls, by the copy of the moment, if they are still allowed in by it.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        known = await self.identify(key)
        self._valid_agent(known)
        return known

    async def caller(self, key: str | None) -> KnownKey:
        """Who calls, and what the caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        await self.identify(key)
        await self._directory.refresh_if_changed()
        known = await self.identify(key)
        self._valid_agent(known)
        return known

    def reach_of(self, view: TenantView, agent: Agent) -> Reach:
        """What an agent may call under some arguments, as of now."""
        return reach_of(view, agent, self._clock.now_ns())

    async def view(self, key: str | None) -> TenantView:
        """What a caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        return (await self.caller(key)).view

    async def _identify_unseen(self, key: str) -> KnownKey:
        try:
            check_key(key)
        except KeyFormatError as fault:
            known = self._with_own_credential(key)
            if known is None:
                raise NotIdentified(str(fault), status=401) from fault
            return known
        digest = key_hash(key, self._pepper)
        known = self._directory.find(digest)
        if known is None:
            await self._directory.refresh_if_changed()
            known = self._directory.find(digest)
        if known is None:
            raise NotIdentified(
                "this API key was never issued here; ask for one: `aegis key issue AGENT`", status=401
            )
        return known

    def _with_own_credential(self, credential: str) -> KnownKey | None:
        """Who brings an upstream's credential: the agent that adopted it, or a stranger where strangers are taken."""
        if credential.startswith(OUR_KEYS):
            return None  # a key of ours that is mistyped is nobody's credential
        digest = key_hash(credential, self._pepper)
        known = self._directory.find(digest)
        view = self._directory.copy.of_strangers
        if known is None and view is not None:
            key = credential_key(digest)
            known = KnownKey(key=key, agent=stranger(key), view=view)
        return known

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
        for _ in range(_JUDGED_AGAIN_MAX):
            considered = await self._considered(key, describe, context, utilisation, run)
            if considered is None:
                continue
            view, judgement, run = considered.view, considered.judgement, considered.circumstances.run
            tenant, agent = view.registry.tenant, considered.agent
            call = call or self._ids.mint(tenant, considered.circumstances.depth, self._clock.now_ns())
            place = _place(span, context.trace)
            command = self._admission(call, considered, context, place)
            if span is not None:
                span.asked(CallAsked(command=command, registry=view.registry, mcp=context.mcp))
            reply = await self._ledger.ask(command)
            if isinstance(reply, Admitted):
                timer.decided(tenant, judgement.described.connector, reply.effect)
                if span is not None:
                    span.decided(reply)
                if reply.wait_ns:
                    await self._wait(command, reply, span)
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
        for _ in range(_JUDGED_AGAIN_MAX):
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
        known = await self.identify(key)
        view, copy = known.view, self._directory.copy
        try:
            asker = agent = self._valid_agent(known)
            if context.subject is not None and context.subject != asker.id:
                view, agent = self._asked_for(asker, view, context.subject)
            tenant = view.registry.tenant
            of_run = recorded_run(run) if run else self._run(context, view, agent, known.key)
            above = self._delegators(of_run, view)
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

    async def open_run(self, key: str | None, asked: RunAsked) -> OpenedRun:
        """Open a run, for the caller itself or for an agent that it delegates to; or say why not. Either is on disk.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: it can't be understood, or its name is that of another run.
            LedgerUnavailable: it could not be made durable.
        """
        await self._directory.keep_current(self._clock.now_ns())
        for _ in range(_JUDGED_AGAIN_MAX):
            known = await self.identify(key)
            copy = self._directory.copy
            try:
                run, command = self._opening(known, asked)
            except CallError:
                await self._directory.refresh_if_changed()
                if self._directory.copy is copy:
                    raise
                continue
            reply = await self._ledger.ask(command)
            if isinstance(reply, Opened):
                return OpenedRun(run=run, effect=reply.effect, reasons=reply.reasons)
            if isinstance(reply, Known) and reply.is_same:
                return OpenedRun(run=recorded_run(reply.first), effect="allow")
            if isinstance(reply, Known):
                raise CallError(
                    f"name `{asked.name}` is that of run `{reply.first[:RUN_CHARACTERS]}…`, which is another one or "
                    "ended; use another name",
                    status=422,
                    field="name",
                )
            if isinstance(reply, Stale):
                await self._directory.refresh(command.tenant, reply.epoch)
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")

    def _opening(self, known: KnownKey, asked: RunAsked) -> tuple[KnownRun, OpenRun]:
        """A run that is to be opened, and what the ledger is asked for it.

        Raises:
            CallError: it can't be opened so.
        """
        view, key, agent, now_ns = known.view, known.key, self._valid_agent(known), self._clock.now_ns()
        registry, tenant, above, depth = view.registry, view.registry.tenant, asked.above, 0
        if asked.run is not None:
            above = self._runs.read(asked.run, tenant, agent.id, key.id)
        if above is not None:
            refuse_over(above, now_ns)
        if above is None and asked.agent not in (None, agent.id):
            raise CallError(
                "a run for another agent is delegated from a call of yours (`parent`), or from a `run`",
                field="parent",
            )
        if above is None:
            run, whose = self._runs.open(tenant, agent.id, key.id, now_ns, asked.name), agent
        else:
            whose = self._delegate(view, agent, key, asked.agent)
            depth = self._ids.depth_below(asked.parent, tenant) if asked.parent else 0
            depth = max(depth, above.depth + 1)
            if depth > DEPTH_MAX:
                raise CallError(f"the run would be {depth} deep, and {DEPTH_MAX} is the most", field="run")
            run = self._runs.delegate(
                tenant,
                above,
                Delegator(agent=agent.id, key=key.id),
                whose.id,
                parent=asked.parent,
                depth=depth,
                now_ns=now_ns,
                name=asked.name,
            )
        delegators = self._delegators(run, view)
        owner = delegators[0][0].owner if delegators else agent.owner
        claim = run_claim(view, whose, run, owner)
        assert claim is not None, "the ledger looks at what is opened"
        reason = too_deep(registry.replication, owner, depth)
        is_enforced = registry.replication_mode == "enforce"
        command = OpenRun(
            call=run.id,
            tenant=tenant,
            epoch=view.epoch,
            claim=claim,
            by=_attribution(agent, key, run=run.id, parent=run.parent, depth=depth),
            policy_version=view.policies.version,
            config_version=view.config_version,
            rates=rates_of_opening(view, agent, key),
            reasons=(reason,) if reason is not None and is_enforced else (),
            shadow=() if reason is None or is_enforced else (would_deny(reason),),
        )
        return run, command

    def _delegate(self, view: TenantView, agent: Agent, key: Key, name: str | None) -> Agent:
        """The agent that a run is delegated to: the caller itself, where it names none.

        Raises:
            CallError: there is none of that name, or the caller isn't registered itself.
        """
        if self._directory.find_by_id(view.registry.tenant, key.id) is None:
            raise CallError(f"`{agent.id}` is not registered, and can't delegate", status=403, field="run")
        if name is None:
            return agent
        whose = view.registry.agents.get(name)
        if whose is None:
            raise CallError(f"there is no agent `{name[:64]}` to delegate to", field="agent")
        return whose

    async def end_run(self, key: str | None, run: str) -> EndedRun:
        """End a run of the caller's, or one that it delegated, and what was delegated in it.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: it is no run that the caller may end.
            LedgerUnavailable: it is not on disk.
        """
        known = await self.identify(key)
        view, agent = known.view, self._valid_agent(known)
        registry, tenant = view.registry, view.registry.tenant
        found = self._runs.to_end(run, tenant, agent.id, known.key.id)
        refuse_over(found, self._clock.now_ns())
        whose = registry.agents.get(found.agent) or agent
        first = registry.agents.get(found.delegators[0].agent) if found.delegators else whose
        owner = (first or whose).owner
        claim = run_claim(view, whose, found, owner)
        is_counted = claim is not None
        if claim is None:
            claim = RunClaim(number=found.number, run=found.id, agent=whose.id, owner=owner)
        reply = await self._ledger.ask(EndRun(call=found.id, tenant=tenant, claim=claim, actor=agent.id))
        if not isinstance(reply, Ended):
            raise LedgerUnavailable("the ledger gave an answer that is none")
        return EndedRun(run=found, below=reply.below, is_counted=is_counted)

    async def tell_outcome(self, key: str | None, run: str, report: Report) -> Told:
        """Record what became of a run of the caller's, as it says: one that it opened, a call opened, or it was given.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: it is no run of the caller's, or it is reported on no more.
            LedgerUnavailable: it is not on disk.
        """
        known = await self.identify(key)
        agent, tenant = self._valid_agent(known), known.view.registry.tenant
        found = self._runs.read(run, tenant, agent.id, known.key.id)
        command = TellOutcome(
            call=found.id,
            tenant=tenant,
            number=found.number,
            report=report,
            by=_attribution(agent, known.key, run=found.id, parent=found.parent, depth=found.depth),
            is_root=not found.root,
            opened_ns=found.opened_ns,
        )
        try:
            reply = await self._ledger.ask(command)
        except IllegalTransition as fault:
            raise CallError(f"run `{found.id[:RUN_CHARACTERS]}`: {fault}", status=422, field="run") from fault
        if not isinstance(reply, Told):
            raise LedgerUnavailable("the ledger gave an answer that is none")
        return reply

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
        known = await self.identify(key)
        agent = known.key.agent
        return (known.view.registry.tenant, agent, _stored_name(known.view, agent, name))

    async def _moved(self, command: Settle | Lose, timer: CallTimer | None = None) -> Moved:
        if timer is not None:
            timer.answered()
        try:
            reply = await self._ledger.ask(command)
        except LedgerUnavailable:
            self.pace.settlement(command.tenant, "late")
            self._late.append(command)
            if self._catching_up is None:
                self._catching_up = asyncio.create_task(self._catch_up())
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

    async def _catch_up(self) -> None:
        """Ask again, until the ledger has taken what became of each call, or knows it already."""
        try:
            while self._late:
                await asyncio.sleep(CATCH_UP_INTERVAL_S)
                batch, self._late = self._late[:CATCH_UP_BATCH], self._late[CATCH_UP_BATCH:]
                asked = [self._ledger.ask(command) for command in batch]
                replies = await asyncio.gather(*asked, return_exceptions=True)
                for command, reply in zip(batch, replies, strict=True):
                    if isinstance(reply, Moved):
                        self._count(reply, command.tenant)
                self._late += [
                    command
                    for command, reply in zip(batch, replies, strict=True)
                    if isinstance(reply, LedgerUnavailable)
                ]
        finally:
            self._catching_up = None

    def _run(self, context: CallContext, view: TenantView, agent: Agent, key: Key) -> KnownRun:
        """The run that a call is of: the one it names, or a new one.

        Raises:
            CallError: it names another's, or none that there is.
        """
        bound = (view.registry.tenant, agent.id, key.id)
        if context.run is None:
            return recorded_run(self._runs.mint(*bound))
        run = self._runs.read(context.run, *bound)
        refuse_over(run, self._clock.now_ns())
        return run

    def _delegators(self, run: KnownRun, view: TenantView) -> tuple[tuple[Agent, Key], ...]:
        """Who delegated a run, the first of its tree first.

        Raises:
            CallError: one of them may not call anything any more, and so nobody does so for it.
        """
        found = []
        for each in run.delegators:
            known = self._directory.find_by_id(view.registry.tenant, each.key)
            agent = view.registry.agents.get(each.agent)
            if known is None or agent is None or not known.key.is_valid(self._clock.now_ns()):
                raise CallError(
                    f"run `{run.id[:64]}` was delegated by agent `{each.agent}`, whose key for it is not valid any "
                    "more; ask for another run",
                    status=403,
                    field="aegis-run-id",
                )
            found.append((agent, known.key))
        return tuple(found)

    async def _wait(self, command: Admit, admitted: Admitted, span: CallSpan | None) -> None:
        """Wait for a reserved call's turn, and win its dispatch; a span of one that doesn't get there ends.

        Raises:
            LedgerUnavailable: too many wait already, or its reservation ran out; it is not sent.
        """
        try:
            await self._turn(command, admitted)
        except BaseException:  # whoever waits for it may leave, or the gateway stop
            if span is not None:
                span.lost("it waited for its turn and was not sent", "not_sent")
            raise

    async def _turn(self, command: Admit, admitted: Admitted) -> None:
        """Wait for a reserved call's turn, and win its dispatch.

        Raises:
            LedgerUnavailable: too many wait already, or its reservation ran out; it is not sent.
        """
        if self._waiting >= WAITING_MAX:
            release = Release(
                call=command.call, tenant=command.tenant, reason="too many calls wait for their turn"
            )
            await self._ledger.ask(release)
            raise LedgerUnavailable("too many calls wait for their turn; try again in a moment")
        self._waiting += 1
        try:
            await asyncio.sleep(admitted.wait_ns / 1_000_000_000)
        finally:
            self._waiting -= 1
        reply = await self._ledger.ask(Dispatch(call=command.call, tenant=command.tenant))
        if not isinstance(reply, Moved) or reply.state != "dispatched":
            raise LedgerUnavailable(
                "the call waited for its turn longer than it could be reserved; try again"
            )

    def _valid_agent(self, known: KnownKey) -> Agent:
        key = known.key
        if key.revoked_ns is not None:
            raise NotIdentified(
                f"API key `{key.hint}` was revoked; ask its agent's owner for another", status=401
            )
        hold = key.held(self._clock.now_ns())
        if hold is not None:
            raise NotIdentified(f"API key `{key.hint}` is held {hold.words}", status=401)
        if not key.is_valid(self._clock.now_ns()):
            raise NotIdentified(f"API key `{key.hint}` was replaced and its grace time is over", status=401)
        if known.agent is None:
            raise NotIdentified(
                f"agent `{key.agent}` of API key `{key.hint}` is not registered any more; "
                "register it with owner, cost centre and purpose: `aegis agent add`",
                status=403,
            )
        return known.agent

    def _admission(
        self,
        call: str,
        considered: Considered[Described],
        context: CallContext,
        place: TracePlace | None,
    ) -> Admit:
        view, agent, circumstances = considered.view, considered.agent, considered.circumstances
        judgement, registry = considered.judgement, considered.view.registry
        described = judgement.described
        arguments = self._arguments_record(view, described)
        return Admit(
            call=call,
            tenant=registry.tenant,
            epoch=view.epoch,
            attribution=_attribution(
                agent,
                considered.key,
                connector=described.connector,
                tool=described.tool,
                model=described.model,
                region=described.region,
                run=circumstances.run,
                parent=circumstances.parent,
                depth=circumstances.depth,
                retry=context.retry,
                customer=context.customer,
                downgraded_from=judgement.downgraded_from,
                saved_nano_usd=judgement.saved_nano_usd,
                asked_by=considered.asked_by,
            ),
            verdict=judgement.verdict,
            arguments=arguments,
            policy_version=view.policies.version,
            config_version=view.config_version,
            beside_version=view.beside_version,
            quote=judgement.quote,
            redacted=described.redacted,
            approval=claim_of(
                view,
                agent,
                considered.asker,
                described,
                judgement.verdict,
                judgement.quote,
                context.customer,
                context.approval,
                place.parent if place is not None else "",
            ),
            rates=_delayed_at_most(considered.rates, context.patience_ns),
            budgets=considered.budgets,
            run=considered.run,
            measures=judgement.measures,
            watched=considered.watched,
            request=_request(view, agent, described, arguments),
            name=_call_name(context, considered),
            utilisation=circumstances.utilisation if judgement.verdict.saw_utilisation else None,
            asked=asked_record(
                judgement.asked,
                judgement.quote,
                is_downgraded=judgement.downgraded_from is not None,
                is_proxied=registry.proxy is not None,
                opens_run=context.run is None,
                judged_ns=circumstances.now_ns,
            ),
            traceparent=place.parent if place is not None else None,
        )

    def _arguments_record(self, view: TenantView, described: Described) -> ArgumentsRecord:
        salt = self._random_bytes(16)
        return ArgumentsRecord(
            salt=salt,
            digest=hashlib.sha256(salt + described.canonical).hexdigest(),
            hmac=hmac.digest(view.arguments_key, described.canonical, "sha256").hex(),
            summary=described.summary,
        )


def considered_as(
    view: TenantView,
    agent: Agent,
    key: Key,
    describe: Describe[D],
    circumstances: Circumstances,
    run: KnownRun,
    delegators: tuple[tuple[Agent, Key], ...] = (),
    *,
    opens_run: bool,
    asker: Agent | None = None,
    measures: tuple[Measure, ...] = (),
) -> Considered[D]:
    """Judge a call, and find what it would count against. `asker` asks for it, if not the agent itself; `measures` are
    what is known of its budgets'.

    Raises:
        CallError: the call cannot be understood.
    """

    def claims(
        described: Described, throttles: tuple[Throttle, ...] = ()
    ) -> tuple[tuple[RateClaim, ...], tuple[BudgetClaim, ...]]:
        return claims_of(
            view,
            agent,
            key,
            connector=described.connector,
            tool=described.tool,
            model=described.model,
            run=run.scope,
            opens_run=opens_run,
            customer=circumstances.customer,
            throttles=throttles,
            delegators=delegators,
        )

    measures_of = (lambda described: measures_on(measures, claims(described)[1])) if measures else no_measures
    judgement = judgement_of(view, agent, describe, circumstances, measures_of)
    rates, budgets = claims(judgement.described, judgement.verdict.throttles)
    watched: tuple[BudgetClaim, ...] = ()
    if judgement.downgraded_from is not None:
        watched = with_thresholds_of(claims(judgement.asked)[1], budgets)
    if delegators and len(budgets) > BALANCES_MAX:
        raise CallError(
            f"the call would count on {len(budgets)} balances, of all who delegated it, and {BALANCES_MAX} is the most",
            status=403,
            field="aegis-run-id",
        )
    return Considered(
        view=view,
        key=key,
        agent=agent,
        circumstances=circumstances,
        judgement=judgement,
        rates=rates,
        budgets=budgets,
        run=run_claim(view, agent, run, circumstances.owner or agent.owner),
        asker=asker or agent,
        watched=watched,
    )


def run_claim(view: TenantView, agent: Agent, run: KnownRun, owner: str) -> RunClaim | None:
    """What the ledger has to look at of a run: of one that was opened as such, or where its owner's are bounded."""
    replication = view.registry.replication
    runs_max = None if replication is None else replication.of(owner).runs_max
    if runs_max is None and not run.is_opened:
        return None
    return RunClaim(
        number=run.number,
        run=run.id,
        agent=agent.id,
        owner=owner,
        idle_ns=IDLE_NS if replication is None else replication.idle_ns,
        runs_max=runs_max,
        mode=view.registry.replication_mode,
        is_kept=run.is_opened,
        root=run.root,
        above=run.above,
        opened_ns=run.opened_ns,
    )


def _delayed_at_most(rates: tuple[RateClaim, ...], patience_ns: int | None) -> tuple[RateClaim, ...]:
    """Rates' claims on a call that can wait for so long at most."""
    if patience_ns is None:
        return rates
    return tuple(
        rate if rate.delay_ns <= patience_ns else msgspec.structs.replace(rate, delay_ns=patience_ns)
        for rate in rates
    )


def remaining_nano_usd(
    budgets: tuple[BudgetClaim, ...], balances: tuple[Standing, ...], now_ns: int
) -> int | None:
    """The least that is left on any budget of money that a call counts against; None where there is none."""
    enforced = [budget for budget in budgets if budget.mode == "enforce"]  # whose balances come first
    left = [
        balance.available(limit_of(budget, balance, now_ns))
        for budget, balance in zip(enforced, balances, strict=False)
        if budget.quantity == USD
    ]
    return min(left) if left else None


def _attribution(agent: Agent, key: Key, *, connector: str = "", tool: str = "", **more: Any) -> Attribution:
    """What an agent does under a key is put down to, as it is registered now."""
    return Attribution(
        agent=agent.id,
        team=agent.team,
        project=agent.project,
        cost_centre=agent.cost_centre,
        owner=agent.owner,
        purpose=agent.purpose,
        environment=agent.environment,
        key=key.id,
        connector=connector,
        tool=tool,
        **more,
    )


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


def _request(view: TenantView, agent: Agent, described: Described, arguments: ArgumentsRecord) -> int | None:
    """What tells a call's request from others, where its answer could be used again."""
    connector = view.registry.connectors.get(described.connector)
    if not is_reusable(described.model, connector, described.tool):
        return None
    of = (agent.id, described.connector, described.tool, described.model or "")
    return request_number(*of, arguments.hmac)


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


def _call_name(context: CallContext, considered: Considered[Described]) -> CallName | None:
    """The caller's name for the call, with a keyed digest of what is asked for; that of another call differs.

    What others name that ask for an agent is apart from what it names itself.

    Raises:
        CallError: it is no name.
    """
    name = context.idempotency_key
    if name is None:
        return None
    if len(name) > IDEMPOTENCY_KEY_CHARACTERS_MAX or not (name.isascii() and name.isprintable()):
        raise CallError(
            f"an idempotency key has at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable ASCII characters",
            field="idempotency-key",
        )
    view, described = considered.view, considered.judgement.described
    asked = f"{context.address}\n{described.connector}\n{described.tool}\n".encode() + described.canonical
    # A name is printable, so with a line's end in it it is no one's own.
    name = name if considered.asked_by is None else f"{considered.asked_by}\n{name}"
    return CallName(
        name=_stored_name(view, considered.agent.id, name),
        request=hmac.digest(view.arguments_key, asked, "sha256"),
    )


def _stored_name(view: TenantView, agent: str, name: str) -> str:
    """What is stored of a caller's name for a call, and all that an upstream learns of it: a keyed digest.

    Agents share the upstream's account. As they named their calls themselves, one could ask for another's answer there.
    """
    return hmac.digest(view.arguments_key, f"name\n{agent}\n{name}".encode(), "sha256").hex()
