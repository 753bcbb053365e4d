"""`aegis budget increase`, `move`, `split`, `rollback`, `history`: what is done to limits while a version stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from aegis_gateway.adapters.budget_change_rows import history_of
from aegis_gateway.domain.amounts import amount_of, limit_text
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.cli.options import (
    JsonOption,
    StoreOption,
    TenantOption,
    one_line,
    until_ns,
)
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    Column,
    Row,
    ago,
    out,
    print_json,
    say,
    table,
    utc,
    utc_short,
)
from aegis_gateway.entrypoints.cli.session import Session, opened, refuse_unknown_budget

BudgetArgument = Annotated[str, typer.Argument(metavar="BUDGET", help="The budget's id.", show_default=False)]
AmountArgument = Annotated[
    str,
    typer.Argument(metavar="AMOUNT", help="How much, as limits are written: 50.00.", show_default=False),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", help="As in 2h, 2026-12-31 or 2026-12-31T18:00Z.", show_default=False
    ),
]
LastingOption = Annotated[
    bool, typer.Option("--lasting", help="Until a version configures another limit, rather than for a while.")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="WORDS", help="Why; it stands in the history.", parser=one_line)
]

_KIND_WORDS = {
    "increase": "raised",
    "move_out": "moved out",
    "move_in": "moved in",
    "split": "split",
    "adaptive": "adapted",
    "roll_back": "taken back",
    "configured": "configured",
}


def increase(
    budget_id: BudgetArgument,
    amount: AmountArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    lasting: LastingOption = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Raise a limit for a while, or for good. The very next call is decided by it. Works while a gateway runs."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        ends_ns = end_of(session, until, lasting=lasting)
        if ends_ns is None and not lasting:
            raise typer.BadParameter("say until when, as in --until 2h, or --lasting")
        units = units_of(amount, session.configured(name), budget_id)
        made = session.budget_changes(name).increase(budget_id, units, ends_ns=ends_ns, reason=reason)
        tell(session, name, [made], as_json=as_json)


def move(
    giver: Annotated[str, typer.Argument(metavar="FROM", help="Whose limit is lowered.", show_default=False)],
    taker: Annotated[str, typer.Argument(metavar="TO", help="Whose limit is raised.", show_default=False)],
    amount: AmountArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    lasting: LastingOption = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move money from one budget's limit to another's of the same owner: until the window ends, unless more is said.

    No more than is left of it; its owner and the deputy may, and whoever may change limits.
    """
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        ends_ns = end_of(session, until, lasting=lasting)
        units = units_of(amount, session.configured(name), giver)
        changes = session.budget_changes(name)
        made = changes.move(giver, taker, units, reason=reason, ends_ns=ends_ns, lasts=lasting)
        tell(session, name, made, as_json=as_json)


def split(
    parent: Annotated[
        str, typer.Argument(metavar="PARENT", help="Whose limit is split.", show_default=False)
    ],
    shares: Annotated[
        list[str],
        typer.Argument(metavar="CHILD=LIMIT…", help="What each shall have: a=60 b=40.", show_default=False),
    ],
    reason: ReasonOption,
    until: UntilOption = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the budgets within another one their limits, together no more than its own; for good, or until a time."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        registry, limits = session.configured(name), {}
        for share in shares:
            child, equals, amount = share.partition("=")
            if not equals or child in limits:
                raise typer.BadParameter(f"`{share}` is no share; write each child once, as in child=60.00")
            limits[child] = units_of(amount, registry, child)
        ends_ns = end_of(session, until, lasting=until is None)
        made = session.budget_changes(name).split(parent, limits, ends_ns=ends_ns, reason=reason)
        tell(session, name, made, as_json=as_json)


def rollback(
    number: Annotated[
        int, typer.Argument(min=1, metavar="N", help="The change's number.", show_default=False)
    ],
    reason: ReasonOption,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a change of limits back, with all that was done in one act with it; said twice, it is done once."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        made = session.budget_changes(name).roll_back(number, reason)
        tell(session, name, made, as_json=as_json)


def history(
    budget_id: BudgetArgument,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was done to a limit: old and new, until when, who, whose word, why, and under which version."""
    with opened(store) as session:
        name = session.tenant(tenant)
        registry = session.registry(name)
        found = history_of(session.store.rows, name, budget_id, limit)
        if not found:
            refuse_unknown_budget(budget_id, registry)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json(
            {
                "tenant": name,
                "budget": budget_id,
                "changes": [change_record(each, registry) for each in found],
            }
        )
        return
    if not found:
        say(f"nothing was done to the limit of `{budget_id}` since it was configured")
        return
    columns = [
        Column(name="n", right=True),
        Column(name="when"),
        Column(name="what"),
        Column(name="old", right=True),
        Column(name="new", right=True),
        Column(name="until"),
        Column(name="by", flexible=True),
        Column(name="version", right=True, optional=1),
    ]
    rows = [
        Row(
            cells=(
                str(each.number),
                utc_short(each.at_ns, now_ns),
                _what(each),
                limit_text(each.limit_before, each.unit, registry),
                limit_text(each.limit_after, each.unit, registry),
                _until(each, now_ns),
                _by(each),
                str(each.config_version),
            ),
            note=Text(_why(each), style=DIM) if each.reason else None,
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


def units_of(text: str, registry: Registry, budget_id: str) -> int:
    """An amount in the unit of a limit, from what somebody wrote.

    Raises:
        ConfigurationError: it is none, or there is no such budget.
    """
    refuse_unknown_budget(budget_id, registry)
    return amount_of(text, registry.budgets[budget_id], registry)


def change_record(change: BudgetChange, registry: Registry) -> dict[str, object]:
    """A change as programs read it."""
    record = msgspec.structs.asdict(change)
    for name in ("amount", "limit_before", "limit_after"):
        record[f"{name}_text"] = limit_text(record[name], change.unit, registry)
    return {**record, "at": utc(change.at_ns)}


def end_of(session: Session, until: str | None, *, lasting: bool) -> int | None:
    """When what somebody wants ends, from what they wrote; None where it lasts, or nothing was said."""
    if until is not None and lasting:
        raise typer.BadParameter("say either --until or --lasting")
    return None if until is None else until_ns(until, session.clock.now_ns())


def tell(session: Session, tenant: str, made: Sequence[BudgetChange], *, as_json: bool) -> None:
    """Tell what was done to limits."""
    registry = session.configured(tenant)
    if as_json:
        print_json({"tenant": tenant, "changes": [change_record(each, registry) for each in made]})
        return
    now_ns = session.clock.now_ns()
    console = out()
    for each in made:
        before, after = (
            limit_text(amount, each.unit, registry) for amount in (each.limit_before, each.limit_after)
        )
        console.print(
            Text.assemble(
                (each.budget, STRONG),
                f": limit {before} → {after}, {_until(each, now_ns)}",
                (f"  ({each.number})", DIM),
            )
        )
    say(Text(f"`aegis budget rollback {made[0].number} --reason …` takes it back", style=DIM))


def _what(change: BudgetChange) -> str:
    words = _KIND_WORDS[change.kind]
    return words if change.undoes is None else f"{words}: {change.undoes}"


def _until(change: BudgetChange, now_ns: int) -> str:
    if change.ends_ns is None:
        return "lasting"
    return f"until {utc_short(change.ends_ns, now_ns)} ({ago(change.ends_ns, now_ns)})"


def _why(change: BudgetChange) -> str:
    return f"{change.reason}  ({change.approval})" if change.approval else change.reason


def _by(change: BudgetChange) -> str:
    if change.asked_by == change.approver:
        return change.asked_by
    return f"{change.asked_by}, granted by {change.approver}"
