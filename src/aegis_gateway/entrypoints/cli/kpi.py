"""`aegis kpi`: the key figures of a period, each with what it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from aegis_gateway.adapters.usage_reports import ShadowUsage
from aegis_gateway.domain.kpi import Amount, Figure, calls_for, succeeded, transactions, wasted
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.outcome import RESULTS, OutcomeSum
from aegis_gateway.domain.usage_cube import Slice
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    Column,
    Row,
    effect_text,
    out,
    percent,
    print_json,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import opened
from aegis_gateway.entrypoints.figures import BudgetFigures, Part, Violator, figures_record, key_figures

_RULES_SHOWN = 12


class By(StrEnum):
    """What spending may be broken down by."""

    AGENT = "agent"
    TEAM = "team"
    PROJECT = "project"
    COST_CENTRE = "cost-centre"
    ENVIRONMENT = "environment"
    CONNECTOR = "connector"
    TOOL = "tool"
    MODEL = "model"


def kpi(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="From when: 30d, 24h, 2026-11-01 or 2026-11-23T08:00Z.")
    ] = "30d",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Until when; now, where it is left out.", show_default=False),
    ] = None,
    by: Annotated[
        By | None, typer.Option("--by", help="Break spending down by this.", show_default=False)
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the key figures of a period, in whole hours: spending, its unit costs, budgets, violations, savings.

    Each is shown with its numerator and denominator, and by --json with its formula and source. Calls count in the hour
    in which they were decided. A transaction is what an agent reports that a run finished, else the tree of runs that
    was begun; a successful outcome is a tree reported as success; a violation is a call that was refused, throttled or
    put before a person, counted once. What wasn't spent is never taken off what was.
    """
    with opened(store) as session:
        name = session.tenant(tenant)
        now_ns = session.clock.now_ns()
        since_ns = options.since_ns(since, now_ns)
        until_ns = now_ns if until is None else options.since_ns(until, now_ns)
        if until_ns <= since_ns:
            raise typer.BadParameter(f"`{until or since}` leaves no time between; write an earlier --since")
        part: Part | None = None if by is None else by.value.replace("-", "_")  # type: ignore[assignment]  # one of those
        found = key_figures(session.store.query, session.registry(name), since_ns, until_ns, now_ns, part)
    if as_json:
        print_json(figures_record(found, utc))
        return
    console = out()
    console.print(Text(f"{name}, {utc(found.since_ns)} to {utc(min(found.until_ns, now_ns))}", style=DIM))
    console.print(_figures_table(found.figures))
    tables: list[tuple[str, Text]] = []
    if found.parts and by is not None:
        tables.append((f"by {by.value.replace('-', ' ')}", _parts_table(by, found.parts)))
    if any(each.trees for each in found.totals.work.values()):
        tables.append(("what agents reported of their work", _outcomes_table(found.totals.work)))
    if found.budgets:
        tables.append(("budgets of money, in their current windows", _budgets_table(found.budgets)))
    if found.violations:
        tables.append(("violations", _violations_table(found.violations)))
    if found.shadow:
        tables.append(("rules in shadow would have", _shadow_table(found.shadow)))
    if found.violators:
        tables.append(("who was stopped, or would have been", _violators_table(found.violators)))
    for title, told in tables:
        console.print(Group(Text(f"\n{title}", style=DIM), told))
    if not any(figure.numerator for figure in found.figures):
        say(f"nothing was called since {since}; `aegis calls` shows calls as they come")


def _figures_table(found: Sequence[Figure]) -> Text:
    columns = [
        Column(name="figure"),
        Column(name="value", right=True),
        Column(name="of", right=True, optional=1),
        Column(name="is", flexible=True, optional=2),
    ]
    rows = [
        Row(cells=(each.name, figure_value(each), figure_parts(each), Text(each.formula, style=DIM)))
        for each in found
    ]
    return table(columns, rows, out())


def figure_value(figure: Figure) -> str:
    """What a key figure comes to, rounded for people."""
    value = figure.value
    if value is None:
        return "–"
    if figure.unit == "calls":
        return f"{int(value):,}"
    if figure.unit == "share":
        return percent(figure.numerator, figure.denominator or 0)
    if figure.unit == "seconds":
        return _time_text(value)
    return usd_short(round(value))


def figure_parts(figure: Figure) -> str:
    """What it is divided by what; empty where it is a sum."""
    if figure.denominator is None:
        return ""
    if figure.id == "cost_per_1k_tokens":
        return f"{usd_short(figure.numerator // 1_000)} / {figure.denominator:,} tokens"
    return (
        f"{_amount_text(figure.above, figure.numerator)} / {_amount_text(figure.below, figure.denominator)}"
    )


def _amount_text(unit: Amount, amount: int) -> str:
    if unit == "usd":
        return usd_short(amount)
    return _time_text(Fraction(amount)) if unit == "seconds" else f"{amount:,}"


def _time_text(nanoseconds: Fraction) -> str:
    seconds = float(nanoseconds / 1_000_000_000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "0 s"


def _parts_table(by: By, parts: Iterable[Slice]) -> Text:
    columns = [
        Column(name=by.value.replace("-", " "), flexible=True),
        Column(name="spent", right=True),
        Column(name="calls", right=True),
        Column(name="transactions", right=True, optional=2),
        Column(name="successes", right=True, optional=1),
        Column(name="per success", right=True, optional=1),
        Column(name="failed", right=True, optional=2),
        Column(name="tokens", right=True, optional=2),
        Column(name="saved", right=True, optional=3),
    ]
    rows = [
        Row(
            cells=(
                each.values[0] or "–",
                usd_short(each.sums.cost),
                f"{each.sums.calls:,}",
                f"{transactions(each.sums, each.work):,}",
                *_work_cells(each),
                f"{each.sums.tokens:,}",
                usd_short(each.sums.saved),
            )
        )
        for each in parts
    ]
    return table(columns, rows, out())


def _work_cells(each: Slice) -> tuple[str, str, str]:
    """Successes, what one of them cost, and what failed work did; nothing is told where nothing was reported."""
    good = succeeded(each.work)
    if not each.work:
        return ("–", "–", "–")
    per = usd_short(good.cost // good.trees) if good.trees else "–"
    return (f"{good.trees:,}", per, usd_short(wasted(each.work).cost))


def _outcomes_table(work: dict[str, OutcomeSum]) -> Text:
    columns = [
        Column(name="outcome", flexible=True),
        Column(name="trees of runs", right=True),
        Column(name="transactions", right=True, optional=1),
        Column(name="cost", right=True),
        Column(name="claimed", right=True),
    ]
    rows = [
        Row(
            cells=(
                result or "not told yet",
                f"{each.trees:,}",
                f"{each.transactions:,}",
                usd_short(each.cost),
                usd_short(each.claimed),
            )
        )
        for result in (*RESULTS, "")
        for each in (work.get(result),)
        if each is not None and each.trees
    ]
    return table(columns, rows, out())


def _violators_table(violators: Sequence[Violator]) -> Text:
    columns = [
        Column(name="rule", flexible=True),
        Column(name="mode"),
        Column(name="did"),
        Column(name="agent", flexible=True),
        Column(name="calls", right=True),
    ]
    most = sorted(violators, key=lambda each: -each.calls)
    rows = [
        Row(cells=(each.rule or "–", each.mode, each.did.replace("_", " "), each.agent, f"{each.calls:,}"))
        for each in most[:_RULES_SHOWN]
    ]
    return table(columns, rows, out())


def _budgets_table(budgets: Sequence[BudgetFigures]) -> Text:
    columns = [
        Column(name="budget", flexible=True),
        Column(name="used", right=True),
        Column(name="spent", right=True),
        Column(name="limit", right=True),
        Column(name="at its end", right=True, optional=1),
        Column(name="deviation", right=True),
        Column(name="calls for", optional=2),
    ]
    rows = [
        Row(
            cells=(
                each.standing.budget.id,
                percent(each.standing.spent, each.standing.limit),
                usd_short(each.standing.spent),
                usd_short(each.standing.limit),
                "–" if each.expected is None else usd_short(each.expected),
                _share_text(each.deviation),
                calls_for(each.deviation),
            )
        )
        for each in budgets
    ]
    return table(columns, rows, out())


def _share_text(share: Fraction | None) -> str:
    return "–" if share is None else f"{round(share * 100):+d} %"


def _violations_table(violations: Sequence[Slice]) -> Text:
    columns = [
        Column(name="rule", flexible=True),
        Column(name="effect"),
        Column(name="why"),
        Column(name="calls", right=True),
        Column(name="not spent", right=True),
    ]
    most = sorted(violations, key=lambda each: (-each.sums.calls, each.values))
    rows = [
        Row(
            cells=(
                rule or "–",
                effect_text(effect),
                code.replace("_", " "),
                f"{each.sums.calls:,}",
                usd_short(each.sums.expected),
            )
        )
        for each in most[:_RULES_SHOWN]
        for effect, code, rule in (each.values,)
    ]
    return table(columns, rows, out())


def _shadow_table(shadow: Sequence[ShadowUsage]) -> Text:
    columns = [
        Column(name="rule", flexible=True),
        Column(name="would"),
        Column(name="calls", right=True),
        Column(name="agents", right=True),
    ]
    rows = [
        Row(cells=(each.rule, each.would.replace("_", " "), f"{each.calls:,}", f"{each.agents:,}"))
        for each in shadow[:_RULES_SHOWN]
    ]
    return table(columns, rows, out())
