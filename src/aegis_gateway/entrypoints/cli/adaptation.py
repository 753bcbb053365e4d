"""`aegis budget adapt`: what a limit that follows use should be next, why, and what was used; and to do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from aegis_gateway.adapters.budget_use import BudgetUse
from aegis_gateway.application.adapting import proposal_seen
from aegis_gateway.domain.adaptation import ProposedLimit, UsedWindow
from aegis_gateway.domain.adaptation_turn import turn_now
from aegis_gateway.domain.registry import Quantity, Registry
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.cli.budget_changes import BudgetArgument, tell
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    WARNING,
    Column,
    Row,
    ago,
    at_decimal_point,
    bar,
    out,
    print_json,
    quantity_text,
    say,
    sparkline,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import opened, refuse_unknown_budget

_BAR_WIDTH = 30


def adapt(
    budget_id: BudgetArgument,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Change the limit so, now; for whoever may change limits."),
    ] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a limit that follows use (`adapts`) should be in the present turn, why, and what was used before.

    By itself it is changed once in each turn, a day or a week, or people are asked (`aegis approvals`), as `applies`
    says. `aegis budget rollback` takes a change back.
    """
    with opened(store, writable=apply) as session:
        name = session.tenant(tenant)
        registry = session.registry(name)
        refuse_unknown_budget(budget_id, registry)
        now_ns = session.clock.now_ns()
        budget, used = registry.budgets[budget_id], BudgetUse(session.store.query)
        turn, use = turn_now(budget, now_ns), used.use(name, budget, now_ns)
        if apply:
            made = session.budget_changes(name).adapt(budget_id, use)
            tell(session, name, [made], as_json=as_json)
            return
        found = proposal_seen(session.in_force_with_changes(name), used, budget_id, use, now_ns)
    if as_json:
        print_json(
            {"tenant": name, "at": utc(now_ns), **adaptation_record(found, use.windows, turn, registry)}
        )
        return
    console = out()
    quantity = registry.quantities[budget.quantity]
    console.print(*_told(found, turn, quantity, now_ns), sep="\n")
    if found.windows:
        console.print(Text(""), _picture(found, quantity, console), sep="\n")
    if len(use.windows) > 1:
        amounts = [each.used for each in reversed(use.windows)]
        line = f"{sparkline(amounts, console)}  all {len(amounts)} windows in which it was used lately"
        console.print(Text(""), Text(line, style=DIM), sep="\n")
    if found.changes:
        say(Text(f"`aegis budget adapt {budget_id} --apply` changes it now", style=DIM))


def _told(found: ProposedLimit, turn: Window, quantity: Quantity, now_ns: int) -> list[Text]:
    present, limit = (quantity_text(each, quantity) for each in (found.present, found.limit))
    ends = f"turn {turn.label}, which ends {ago(turn.ends_ns, now_ns)}"
    if found.changes:
        how = "by itself" if found.applies == "automatic" else "after a person's word"
        first = Text.assemble((found.budget, STRONG), f": limit {present} → {limit}, {how}, in {ends}")
    else:
        first = Text.assemble((found.budget, STRONG), f": limit {present} stays as it is in {ends}")
    return [first, *(Text(f"- {reason}") for reason in found.reasons)]


def _picture(found: ProposedLimit, quantity: Quantity, console: Console) -> Text:
    """What was used in the windows that are compared, the oldest first, on one scale with the limit."""
    windows = tuple(reversed(found.windows))
    lines = [(each.window.label, each.used) for each in windows]
    if found.median is not None:
        lines.append(("median", found.median))
    lines.append(("limit", found.present))
    if found.changes:
        lines.append(("proposed", found.limit))
    most = max(amount for _, amount in lines)
    texts = at_decimal_point([quantity_text(amount, quantity) for _, amount in lines])
    cut_short = {each.window.label for each in windows if each.cut_short}
    rows = [
        Row(
            cells=(
                name,
                text,
                Text.assemble(
                    bar(amount, 0, most, _BAR_WIDTH, console),
                    ("  cut short" if name in cut_short else "", WARNING),
                ),
            )
        )
        for (name, amount), text in zip(lines, texts, strict=True)
    ]
    columns = [Column(name="window"), Column(name="used", right=True), Column(name="")]
    return table(columns, rows, console)


def adaptation_record(
    found: ProposedLimit, used: Sequence[UsedWindow], turn: Window, registry: Registry
) -> dict[str, object]:
    """A proposal as programs read it; amounts in the smallest unit of the budget's quantity."""
    quantity = registry.quantities[registry.budgets[found.budget].quantity]
    amounts = {
        "present": found.present,
        "limit": found.limit,
        "median": found.median,
        "spread": found.spread,
        "target": found.target,
    }
    record: dict[str, object] = {
        "budget": found.budget,
        "quantity": quantity.id,
        "turn": turn.label,
        "turn_ends_ns": turn.ends_ns,
        "changes": found.changes,
        "applies": found.applies,
        "held": found.held,
        "bound": found.bound,
        "reasons": list(found.reasons),
    }
    for name, amount in amounts.items():
        record[f"{name}_amount"] = amount
        record[name] = None if amount is None else quantity_text(amount, quantity, exact=True)
    compared = {each.window.label for each in found.windows}
    record["windows"] = [
        {
            "window": each.window.label,
            "starts_ns": each.window.starts_ns,
            "ends_ns": each.window.ends_ns,
            "used_amount": each.used,
            "used": quantity_text(each.used, quantity, exact=True),
            "cut_short": each.cut_short,
            "compared": each.window.label in compared,
        }
        for each in used
    ]
    return record
