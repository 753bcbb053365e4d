"""A call that was judged, and what it would count against; nothing of it is recorded or held."""

from __future__ import annotations

from typing import Generic

import msgspec

from aegis_gateway.application.claims import claims_of
from aegis_gateway.application.directory import TenantView
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
from aegis_gateway.application.measuring import measures_on, with_thresholds_of
from aegis_gateway.application.runs import KnownRun
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Throttle
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.measure import Measure
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.registry import Agent, Key
from aegis_gateway.domain.replication import IDLE_NS, RunClaim

NEW_RUN = "run_new"
"""The run that a call is considered as being of that would open one."""


BALANCES_MAX = 128
"""On how many balances a call may count that was delegated: its entry names each, and has to fit into a leaf."""


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
