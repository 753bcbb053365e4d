"""Runs as callers have them: opened, delegated, ended, reported on; and the one that a call is of."""

from __future__ import annotations

import msgspec

from aegis_gateway.application.admission import attribution_of
from aegis_gateway.application.asking_ledger import AsyncLedger
from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.call_ids import DEPTH_MAX, CallIds
from aegis_gateway.application.callers import Callers
from aegis_gateway.application.claims import rates_of_opening
from aegis_gateway.application.commands import Ended, EndRun, Known, Opened, OpenRun, Stale, TellOutcome, Told
from aegis_gateway.application.considered import run_claim
from aegis_gateway.application.directory import Directory, KnownKey, TenantView
from aegis_gateway.application.ports import Clock
from aegis_gateway.application.runs import (
    RUN_CHARACTERS,
    Delegator,
    KnownRun,
    Runs,
    recorded_run,
    refuse_over,
)
from aegis_gateway.domain.decision import Effect, Reason, would_deny
from aegis_gateway.domain.errors import CallError, IllegalTransition, LedgerUnavailable
from aegis_gateway.domain.outcome import Report
from aegis_gateway.domain.registry import Agent, Key
from aegis_gateway.domain.replication import RunClaim, too_deep


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


JUDGED_AGAIN_MAX = 8
"""How often something is decided anew because the configuration has changed in between."""


class CallersRuns:
    """Runs, as those who call open, name, end and report on them."""

    def __init__(
        self,
        directory: Directory,
        ledger: AsyncLedger,
        clock: Clock,
        callers: Callers,
        runs: Runs,
        ids: CallIds,
    ) -> None:
        """`runs` mints and reads ids of runs, `ids` those of calls."""
        self._directory = directory
        self._ledger = ledger
        self._clock = clock
        self._callers = callers
        self._runs = runs
        self._ids = ids

    async def open(self, key: str | None, asked: RunAsked) -> OpenedRun:
        """Open a run, for the caller itself or for an agent that it delegates to; or say why not. Either is on disk.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: it can't be understood, or its name is that of another run.
            LedgerUnavailable: it could not be made durable.
        """
        await self._directory.keep_current(self._clock.now_ns())
        for _ in range(JUDGED_AGAIN_MAX):
            known = await self._callers.identify(key)
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

    async def end(self, key: str | None, run: str) -> EndedRun:
        """End a run of the caller's, or one that it delegated, and what was delegated in it.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: it is no run that the caller may end.
            LedgerUnavailable: it is not on disk.
        """
        known = await self._callers.identify(key)
        view, agent = known.view, self._callers.valid_agent(known)
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
        known = await self._callers.identify(key)
        agent, tenant = self._callers.valid_agent(known), known.view.registry.tenant
        found = self._runs.read(run, tenant, agent.id, known.key.id)
        command = TellOutcome(
            call=found.id,
            tenant=tenant,
            number=found.number,
            report=report,
            by=attribution_of(agent, known.key, run=found.id, parent=found.parent, depth=found.depth),
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

    def of_call(self, context: CallContext, view: TenantView, agent: Agent, key: Key) -> KnownRun:
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

    def delegators(self, run: KnownRun, view: TenantView) -> tuple[tuple[Agent, Key], ...]:
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

    def _opening(self, known: KnownKey, asked: RunAsked) -> tuple[KnownRun, OpenRun]:
        """A run that is to be opened, and what the ledger is asked for it.

        Raises:
            CallError: it can't be opened so.
        """
        view, key, agent, now_ns = (
            known.view,
            known.key,
            self._callers.valid_agent(known),
            self._clock.now_ns(),
        )
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
        delegators = self.delegators(run, view)
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
            by=attribution_of(agent, key, run=run.id, parent=run.parent, depth=depth),
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
