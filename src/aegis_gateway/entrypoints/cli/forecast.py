"""`aegis budget forecast`: what budgets' windows will have come to at their end, and when nothing will be left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from aegis_gateway.adapters.budget_use import BudgetUse, burn_down_of, forecast_of, past_windows
from aegis_gateway.adapters.reports import BudgetStanding
from aegis_gateway.domain.backtest import PointTested
from aegis_gateway.domain.backtest import backtest as backtested
from aegis_gateway.domain.burn_down import BurnPoint
from aegis_gateway.domain.forecast import BAND_PERCENT, Forecast
from aegis_gateway.domain.registry import ON_THE_FLY, Quantity, Registry
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    STRONG,
    Column,
    Row,
    ago,
    at_decimal_point,
    out,
    print_json,
    quantity_text,
    say,
    table,
    utc,
    utc_short,
    window_text,
)
from aegis_gateway.entrypoints.cli.session import Session, opened, refuse_unknown_budget

BACKTESTED_MOST = 90
"""How many past windows a backtest looks at."""

SCOPES_MOST = 20
"""Of a split budget, so many balances are forecast: those that have least left."""


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """A balance, its forecast, how it goes and will go, and how wrong such forecasts were."""

    standing: BudgetStanding
    forecast: Forecast
    burn_down: tuple[BurnPoint, ...] = ()
    tested: tuple[PointTested, ...] = ()

    @property
    def name(self) -> str:
        """The budget, and which of its balances."""
        return f"{self.standing.budget.id} {self.standing.scope}".rstrip()


def forecast(
    budget_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One budget only.", show_default=False)
    ] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Also say how wrong forecasts of past windows would have been.")
    ] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what budgets will have come to at the end of their windows, when nothing will be left, and how sure that is.

    A forecast is what is spent, and for the rest of the window what is usual for its hours of the week, at the pace
    that the window has had so far. Its band is as wide as forecasts of past windows at the same point were wrong.
    """
    with opened(store) as session:
        name = session.tenant(tenant)
        registry = session.registry(name)
        if budget_id is not None:
            refuse_unknown_budget(budget_id, registry)
        now_ns = session.clock.now_ns()
        wanted = sorted(registry.budgets) if budget_id is None else [budget_id]
        found = [
            each for one in wanted for each in _foreseen(session, name, registry, one, now_ns, tests=backtest)
        ]
    short_lived = [each for each in wanted if _is_short_lived(registry, each)]
    if as_json:
        records = [_record(each, registry.quantities[each.standing.budget.quantity]) for each in found]
        print_json({"tenant": name, "at": utc(now_ns), "forecasts": records})
        return
    if found:
        console = out()
        console.print(_forecasts(found, registry, console, now_ns))
        if backtest:
            console.print(Text(""), _backtests(found, console), sep="\n")
    else:
        say("nothing to forecast: no budget is in use")
    if short_lived:
        say(f"not forecast, since balances of runs and customers live too short: {', '.join(short_lived)}")


def _is_short_lived(registry: Registry, budget: str) -> bool:
    return bool(set(registry.budgets[budget].per) & set(ON_THE_FLY))


def _foreseen(
    session: Session, tenant: str, registry: Registry, budget: str, now_ns: int, *, tests: bool
) -> Iterator[Foreseen]:
    if _is_short_lived(registry, budget):
        return
    uses = BudgetUse(session.store.query)
    standings = session.reports.standings(tenant, [registry.budgets[budget]], now_ns)
    for standing in sorted(standings, key=lambda each: each.left)[:SCOPES_MOST]:
        use = uses.hourly(tenant, standing.budget, standing.scope, now_ns)
        tested: tuple[PointTested, ...] = ()
        if tests:
            tested = backtested(use, past_windows(use, standing.budget, now_ns, BACKTESTED_MOST))
        yield Foreseen(
            standing=standing,
            forecast=forecast_of(use, standing, now_ns),
            burn_down=burn_down_of(use, standing, now_ns),
            tested=tested,
        )


def _forecasts(found: Sequence[Foreseen], registry: Registry, console: Console, now_ns: int) -> Text:
    quantities = [registry.quantities[each.standing.budget.quantity] for each in found]
    spent, limits, expected = (
        at_decimal_point(
            [
                "–" if amount is None else quantity_text(amount, quantity)
                for amount, quantity in zip(amounts, quantities, strict=True)
            ]
        )
        for amounts in (
            [each.forecast.spent for each in found],
            [each.standing.limit for each in found],
            [each.forecast.expected for each in found],
        )
    )
    columns = [
        Column(name="budget", flexible=True),
        Column(name="spent", right=True),
        Column(name="expected", right=True),
        Column(name="likely between", right=True, optional=1),
        Column(name="limit", right=True),
        Column(name="empty"),
        Column(name="window", optional=2),
    ]
    rows = []
    for place, (each, quantity) in enumerate(zip(found, quantities, strict=True)):
        is_above = (each.forecast.expected or 0) > each.standing.limit
        rows.append(
            Row(
                cells=(
                    Text(each.name, style=STRONG),
                    spent[place],
                    Text(expected[place], style="red" if is_above else ""),
                    _band(each.forecast, quantity),
                    limits[place],
                    _empty(each.forecast, now_ns),
                    window_text(each.forecast.window.label),
                ),
                note="; ".join(_rests_on(each.forecast, quantity, now_ns)),
            )
        )
    return table(columns, rows, console)


def _band(forecast: Forecast, quantity: Quantity) -> str:
    if forecast.low is None or forecast.high is None:
        return "–"
    return f"{quantity_text(forecast.low, quantity)} and {quantity_text(forecast.high, quantity)}"


def _empty(forecast: Forecast, now_ns: int) -> Text:
    """When nothing will be left of a window."""
    if forecast.left <= 0:
        return Text("now", style="red")
    if forecast.exhausted_ns is None:
        return Text("not before it ends" if forecast.expected is not None else "–")
    at_ns = forecast.exhausted_ns
    return Text(f"{utc_short(at_ns, now_ns)}, {ago(at_ns, now_ns)}", style="red")


def _rests_on(forecast: Forecast, quantity: Quantity, now_ns: int) -> Iterator[str]:
    """What a forecast rests on, and how far it can be trusted."""
    match forecast.basis:
        case "weeks":
            yield f"rests on hours of the week, {forecast.days} days of them"
        case "days":
            yield f"rests on hours of the day, {forecast.days} days of them: weeks aren't known yet"
        case "pace":
            yield "rests on the present pace alone, with nothing to compare it with"
        case "nothing":
            yield "nothing was spent that a forecast could rest on"
    if forecast.low is not None:
        yield f"{BAND_PERCENT} of 100 windows lie in the band, by {forecast.windows} past ones"
    if forecast.runway_ns is not None and forecast.left > 0:
        pace = quantity_text(forecast.pace, quantity)
        yield f"at the {pace} an hour of now nothing is left {ago(now_ns + forecast.runway_ns, now_ns)}"


def _backtests(found: Sequence[Foreseen], console: Console) -> Text:
    columns = [
        Column(name="past windows", flexible=True),
        Column(name="at", right=True),
        Column(name="windows", right=True),
        Column(name="mean error", right=True),
        Column(name="straight line", right=True),
        Column(name="within band", right=True),
    ]
    rows = [
        Row(
            cells=(
                each.name,
                f"{point.percent} %",
                str(point.windows),
                _share(point.mean_error),
                _share(point.straight_line_error),
                f"{point.within_band} of {point.with_band}",
            )
        )
        for each in found
        for point in each.tested
    ]
    return table(columns, rows, console)


def _share(error: float | None) -> str:
    return "–" if error is None else f"{100 * error:.1f} %"


def _record(each: Foreseen, quantity: Quantity) -> dict[str, object]:
    """A forecast as programs read it."""
    forecast = each.forecast
    amounts = {
        "limit": each.standing.limit,
        "spent": forecast.spent,
        "left": forecast.left,
        "expected": forecast.expected,
        "low": forecast.low,
        "high": forecast.high,
        "pace_per_hour": forecast.pace,
    }
    record: dict[str, object] = {
        "budget": each.standing.budget.id,
        "scope": each.standing.scope,
        "quantity": quantity.id,
        "window": forecast.window.label,
        "window_ends_ns": forecast.window.ends_ns,
        "rests_on": forecast.basis,
        "days_known": forecast.days,
        "band_percent": None if forecast.low is None else BAND_PERCENT,
        "band_windows": forecast.windows,
        "runway_s": None if forecast.runway_ns is None else forecast.runway_ns // 1_000_000_000,
        "exhausted_ns": forecast.exhausted_ns,
        "exhausted": None if forecast.exhausted_ns is None else utc(forecast.exhausted_ns),
    }
    for name, amount in amounts.items():
        record[f"{name}_amount"] = amount
        record[name] = None if amount is None else quantity_text(amount, quantity, exact=True)
    record["burn_down"] = [msgspec.to_builtins(point) for point in each.burn_down]
    if each.tested:
        record["backtest"] = [msgspec.to_builtins(point) for point in each.tested]
    return record
