"""`aegis budget ask`: ask for more of a budget; another person agrees, and then it is so."""

from __future__ import annotations

import typer
from rich.text import Text

from aegis_gateway.adapters.budget_use import expected_of
from aegis_gateway.application.asks import Wanted
from aegis_gateway.domain.approval import Approval
from aegis_gateway.entrypoints.cli.approvals import approval_record
from aegis_gateway.entrypoints.cli.budget_changes import (
    AmountArgument,
    BudgetArgument,
    LastingOption,
    ReasonOption,
    UntilOption,
    end_of,
    units_of,
)
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import DIM, STRONG, ago, out, print_json, say, utc_short
from aegis_gateway.entrypoints.cli.session import opened


def ask(
    budget_id: BudgetArgument,
    amount: AmountArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    lasting: LastingOption = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask another person for more of a budget, for a while or for good. The call after they agree is decided by it.

    May: its owner and deputy, the owner of an agent whose calls count on it, and whoever may see the budgets. Who is
    asked says `asks` in aegis.yaml; without that its owner, if they may change limits, or else whoever may.
    """
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        ends_ns = end_of(session, until, lasting=lasting)
        if ends_ns is None and not lasting:
            raise typer.BadParameter("say until when, as in --until 2h, or --lasting")
        registry = session.registry(name)
        units = units_of(amount, registry, budget_id)
        now_ns = session.clock.now_ns()
        expected = expected_of(session.store.query, name, registry.budgets[budget_id], now_ns)
        wanted = Wanted(budget=budget_id, amount=units, ends_ns=ends_ns, reason=reason, expected=expected)
        asked = session.asks().ask(name, wanted)
    if as_json:
        print_json(approval_record(asked))
        return
    _tell(asked, now_ns)


def _tell(asked: Approval, now_ns: int) -> None:
    groups = ", ".join(group.name.replace("_", " ") for group in asked.route.asked(asked.level))
    deadline = f"{utc_short(asked.deadline_ns, now_ns)} ({ago(asked.deadline_ns, now_ns)})"
    out().print(
        Text.assemble(
            (asked.id, STRONG),
            f": {asked.facts['amount']} more for {asked.about}, asked of {groups} until {deadline}",
        )
    )
    say(Text(f"`aegis approvals show {asked.id}` tells what becomes of it", style=DIM))
