"""`aegis budget`: what may be spent, what is, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from aegis_gateway.adapters.budget_agents import AgentsOfBudget, BudgetAgents
from aegis_gateway.adapters.holds import WordsAsked
from aegis_gateway.adapters.reports import BudgetStanding, BudgetWindow, Sum
from aegis_gateway.domain.currency import units_text
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.registry import ON_THE_FLY, Budget, Quantity, Registry
from aegis_gateway.entrypoints.budget_agents import agents_words
from aegis_gateway.entrypoints.cli.budget_terms import currency_record, currency_words, window_terms
from aegis_gateway.entrypoints.cli.budget_thresholds import (
    WordOn,
    next_words,
    no_word,
    thresholds_record,
    thresholds_table,
)
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    Column,
    Row,
    ago,
    at_decimal_point,
    bar,
    out,
    percent,
    print_json,
    quantity_text,
    say,
    table,
    utc,
    window_text,
)
from aegis_gateway.entrypoints.cli.session import opened, refuse_unknown_budget

NOT_HELD = 3

BALANCES_SHOWN = 5
_BAR_WIDE, _BAR_NARROW, _WIDE = 20, 10, 110


def budget(
    budget_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One budget, in detail.", show_default=False)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 3 if a budget has less than nothing left.")
    ] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show budgets: owner, limit, spent, reserved, left. With an id: thresholds, last windows, dearest agents."""
    with opened(store) as session:
        name = session.tenant(tenant)
        registry = session.registry(name)
        if budget_id is not None:
            refuse_unknown_budget(budget_id, registry)
        wanted = (
            [registry.budgets[budget_id]]
            if budget_id
            else sorted(registry.budgets.values(), key=lambda b: b.id)
        )
        now_ns = session.clock.now_ns()
        standings = session.reports.standings(name, wanted, now_ns)
        word_on = WordsAsked(session.store.query, name)
        records = [
            standing_record(standing, registry.quantities[standing.budget.quantity], now_ns, word_on)
            for standing in standings
        ]
        windows: list[BudgetWindow] = []
        agents: BudgetAgents | None = None
        thresholds: Text | None = None
        if budget_id is not None:
            windows = session.reports.windows(name, budget_id, now_ns)
            agents = AgentsOfBudget(session.store.query).of(registry, wanted[0], now_ns)
            dearest, quantity = _dearest_of_each(standings), registry.quantities[wanted[0].quantity]
            thresholds = thresholds_table(dearest, quantity, word_on, now_ns, out())
    if as_json:
        record: dict[str, object] = {"tenant": name, "at": utc(now_ns), "budgets": records}
        if agents is not None:
            record["windows"] = [
                _window_record(each, registry.quantities[wanted[0].quantity]) for each in windows
            ]
            record["agents"] = [_sum_record(each) for each in agents.agents]
            record["agents_of"] = {
                "looked_at": agents.looked_at,
                "since_ns": agents.since_ns,
                "rest_nano_usd": agents.rest_nano_usd,
            }
        print_json(record)
    elif agents is not None:
        _show_one(wanted[0], standings, windows, agents, registry, now_ns, thresholds)
    elif not wanted:
        say("no budgets yet; write them under `budgets` in aegis.yaml, and `aegis apply` it")
    else:
        _show_all(wanted, standings, registry, now_ns)
    if check and any(standing.left < 0 and standing.budget.mode == "enforce" for standing in standings):
        say(Text("a budget has less than nothing left", style="red"))
        raise typer.Exit(NOT_HELD)


def budgets_table(
    standings: Sequence[BudgetStanding],
    registry: Registry,
    console: Console,
    now_ns: int,
    *,
    notes: bool = True,
) -> Text:
    """Budgets with their bars. A note below each says who owns it."""
    columns = [
        Column(name="budget", flexible=True),
        Column(name=""),
        Column(name="used", right=True),
        Column(name="spent", right=True),
        Column(name="reserved", right=True),
        Column(name="left", right=True),
        Column(name="limit", right=True, optional=1),
        Column(name="window", optional=2),
        Column(name="ends", optional=3),
    ]
    bar_width = _BAR_WIDE if console.width >= _WIDE else _BAR_NARROW
    quantities = [registry.quantities[standing.budget.quantity] for standing in standings]
    money = [
        at_decimal_point(
            [quantity_text(amount, quantity) for amount, quantity in zip(amounts, quantities, strict=True)]
        )
        for amounts in (
            [standing.spent for standing in standings],
            [standing.reserved for standing in standings],
            [standing.left for standing in standings],
            [standing.limit for standing in standings],
        )
    ]
    rows = []
    for place, standing in enumerate(standings):
        each = standing.budget
        left_style = "red" if standing.left <= 0 else ""
        rows.append(
            Row(
                cells=(
                    Text(f"{each.id} {standing.scope}".rstrip(), style=STRONG),
                    bar(standing.spent, standing.reserved, standing.limit, bar_width, console),
                    percent(standing.spent + standing.reserved, standing.limit),
                    money[0][place],
                    money[1][place],
                    Text(money[2][place], style=left_style),
                    money[3][place],
                    window_text(standing.window.label),
                    ago(standing.window.ends_ns, now_ns) if each.period not in ("once", "rolling") else "",
                ),
                note="; ".join((_ownership(each), *currency_words(standing))) if notes else None,
            )
        )
    return table(columns, rows, console)


def _show_all(
    budgets: Sequence[Budget], standings: Sequence[BudgetStanding], registry: Registry, now_ns: int
) -> None:
    console = out()
    dearest = _dearest_of_each(standings)
    console.print(budgets_table(dearest, registry, console, now_ns))
    if len(dearest) < len(standings):
        say(f"{len(standings) - len(dearest):,} more balances of runs and customers are not shown")
    used = {standing.budget.id for standing in standings}
    unused = [each.id for each in budgets if each.id not in used]
    if unused:
        say(f"split, and not used in this window yet: {', '.join(unused)}")
    say(Text("█ spent  ▒ reserved  ░ left; `aegis budget ID` shows one in detail", style=DIM))


def _dearest_of_each(standings: Sequence[BudgetStanding]) -> list[BudgetStanding]:
    """All balances, but of budgets that have one for each run or customer only those that are used most."""
    shown: list[BudgetStanding] = []
    for _, of_budget in groupby(standings, lambda standing: standing.budget.id):
        balances = list(of_budget)
        if len(balances) > BALANCES_SHOWN and set(balances[0].budget.per) & set(ON_THE_FLY):
            balances.sort(key=lambda standing: standing.left)
            balances = balances[:BALANCES_SHOWN]
        shown += balances
    return shown


def _show_one(
    each: Budget,
    standings: Sequence[BudgetStanding],
    windows: Sequence[BudgetWindow],
    agents: BudgetAgents,
    registry: Registry,
    now_ns: int,
    thresholds: Text | None,
) -> None:
    console = out()
    quantity = registry.quantities[each.quantity]
    whose = (
        ", ".join(f"{dimension} {value}" for dimension, value in each.match) or "the agents that live on it"
    )
    split = f", split by {' and '.join(each.per)}" if each.per else ""
    parts: list[Text] = [
        Text.assemble(
            (each.id, STRONG),
            f"  {_kind(each)}, {_limit_text(each, quantity)} {each.period}",
        ),
        Text(f"counts {each.quantity} of {whose}{split}; windows begin in {each.zone}"),
        Text(_ownership(each)),
        Text(""),
    ]
    if standings:
        dearest = _dearest_of_each(standings)
        parts.append(budgets_table(dearest, registry, console, now_ns, notes=False))
        if len(dearest) < len(standings):
            parts.append(Text(f"and {len(standings) - len(dearest):,} more, which have more left"))
    else:
        parts.append(Text("not used in this window yet"))
    parts += [Text(line) for line in window_terms(standings, quantity, now_ns)]
    if thresholds is not None:
        parts += [Text(""), thresholds]
        parts += [Text(line) for line in next_words(standings, quantity, now_ns)]
    if windows:
        parts += [Text(""), _windows_table(windows, quantity, console)]
    parts.append(Text(""))
    words = agents_words(agents, utc)
    if agents.agents:
        parts.append(_agents_table(agents.agents, console))
    else:
        looked_at = "that was looked at " if words else ""
        parts.append(Text(f"no call {looked_at}counted against it in this window"))
    parts += [Text(each, style=DIM) for each in words]
    console.print(Group(*parts))


def _windows_table(windows: Sequence[BudgetWindow], quantity: Quantity, console: Console) -> Text:
    spent = at_decimal_point([quantity_text(each.spent, quantity, exact=True) for each in windows])
    reserved = at_decimal_point([quantity_text(each.reserved, quantity, exact=True) for each in windows])
    rows = [
        Row(cells=(window_text(each.window.label), spent[place], reserved[place], str(each.scopes)))
        for place, each in enumerate(windows)
    ]
    columns = [
        Column(name="last windows"),
        Column(name="spent", right=True),
        Column(name="reserved", right=True),
        Column(name="parts", right=True),
    ]
    split = any(each.scopes > 1 for each in windows)
    if not split:
        columns.pop()
        rows = [Row(cells=row.cells[:-1]) for row in rows]
    return table(columns, rows, console)


def _agents_table(agents: Sequence[Sum], console: Console) -> Text:
    costs = at_decimal_point([usd_short(each.nano_usd) for each in agents])
    rows = [
        Row(cells=(each.name or "", costs[place], f"{each.calls:,}")) for place, each in enumerate(agents)
    ]
    columns = [
        Column(name="dearest agents", flexible=True),
        Column(name="cost", right=True),
        Column(name="calls", right=True),
    ]
    return table(columns, rows, console)


def _limit_text(each: Budget, quantity: Quantity) -> str:
    if each.currency is None:
        return quantity_text(each.limit, quantity, exact=True)
    return f"{units_text(Decimal(each.limit) / quantity.scale)} {each.currency.code}"


def _kind(each: Budget) -> str:
    kind = "hard" if each.hard else "soft"
    return kind if each.mode == "enforce" else f"{kind}, in shadow"


def _ownership(each: Budget) -> str:
    deputy = f", deputy {each.deputy}" if each.deputy else ""
    return f"owner {each.owner}{deputy}"


def _amount_record(name: str, amount: int, quantity: Quantity) -> dict[str, object]:
    return {
        f"{name}_amount": amount,
        f"{name}_nano_usd": amount if quantity.is_money else None,
        name: quantity_text(amount, quantity, exact=True),
    }


def standing_record(
    standing: BudgetStanding, quantity: Quantity, now_ns: int, word_on: WordOn = no_word
) -> dict[str, object]:
    """A budget's balance as programs read it, with its thresholds; `word_on` knows what those wait for."""
    each = standing.budget
    return {
        "budget": each.id,
        "scope": standing.scope,
        "owner": each.owner,
        "deputy": each.deputy,
        "quantity": each.quantity,
        "kind": _kind(each),
        "period": each.period,
        "time_zone": each.zone,
        "window": standing.window.label,
        "window_starts_ns": standing.window.starts_ns,
        "window_ends_ns": standing.window.ends_ns,
        **_amount_record("limit", standing.limit, quantity),
        **_amount_record("spent", standing.spent, quantity),
        **_amount_record("reserved", standing.reserved, quantity),
        **_amount_record("left", standing.left, quantity),
        "used_percent": percent(standing.spent + standing.reserved, standing.limit),
        **({} if each.carry_over is None else _amount_record("carried", standing.carried, quantity)),
        **currency_record(standing, now_ns),
        **thresholds_record(standing, word_on, now_ns),
    }


def _window_record(each: BudgetWindow, quantity: Quantity) -> dict[str, object]:
    return {
        "window": each.window.label,
        "window_starts_ns": each.window.starts_ns,
        "window_ends_ns": each.window.ends_ns,
        "scopes": each.scopes,
        **_amount_record("spent", each.spent, quantity),
        **_amount_record("reserved", each.reserved, quantity),
    }


def _sum_record(each: Sum) -> dict[str, object]:
    return {
        "agent": each.name,
        "calls": each.calls,
        "cost_nano_usd": each.nano_usd,
        "cost": usd_short(each.nano_usd),
    }
