"""`aegis top`: budgets, rates and the last calls, live in the terminal. It reads only."""

from __future__ import annotations

import time
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from aegis_gateway.adapters.pace_reports import PaceReports
from aegis_gateway.adapters.reports import BudgetStanding, CallFilter, CallReport, Spent
from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.window import window_at
from aegis_gateway.entrypoints.cli.budget import budgets_table, standing_record
from aegis_gateway.entrypoints.cli.calls import call_record, calls_table
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    EFFECT_SIGNS,
    EFFECT_STYLES,
    STRONG,
    out,
    print_json,
    utc,
)
from aegis_gateway.entrypoints.cli.session import Session, opened
from aegis_gateway.entrypoints.pace_account import MINUTES, PaceSeen, duration_text, read_pace

INTERVAL_S = 1.0
RATE_WINDOW_S = 10

_LINES_BESIDE = 11
_LINES_PIPED = 40
_CALLS_LEAST = 5
_NANOS = 1_000_000_000


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What one look shows."""

    now_ns: int
    version: int
    registry: Registry
    spent: Spent
    effects: dict[str, int]
    open_calls: dict[str, int]
    pace: PaceSeen
    standings: tuple[BudgetStanding, ...]
    calls: tuple[CallReport, ...]


class Watch:
    """Looks again and again at one tenant; what was known is carried on, so that a look stays cheap."""

    def __init__(self, session: Session, tenant: str) -> None:
        """Start with nothing known."""
        self._session = session
        self._tenant = tenant
        self._epoch = session.state.tenants[tenant].epoch
        self._spent: Spent | None = None

    def look(self, calls: int) -> Frame:
        """Read one frame, with so many of the last calls."""
        if self._session.store.epochs().get(self._tenant) != self._epoch:
            self._session = Session(self._session.settings, self._session.store)
            self._epoch = self._session.state.tenants[self._tenant].epoch
        reports, registry = self._session.reports, self._session.registry(self._tenant)
        now_ns = self._session.clock.now_ns()
        standings = reports.standings(self._tenant, registry.budgets.values(), now_ns)
        standings.sort(key=lambda each: (-_share(each), each.budget.id, each.scope))
        config = self._session.state.config
        return Frame(
            now_ns=now_ns,
            version=config.version if config else 0,
            registry=registry,
            spent=self._spent_today(registry, now_ns),
            effects=reports.effects(self._tenant, now_ns - RATE_WINDOW_S * _NANOS),
            open_calls=reports.open_calls(self._tenant),
            pace=read_pace(PaceReports(self._session.store.query), self._tenant, now_ns, is_whole=True),
            standings=tuple(standings),
            calls=tuple(reports.calls(self._tenant, CallFilter(), calls)),
        )

    def _spent_today(self, registry: Registry, now_ns: int) -> Spent:
        """Today's spend: added up once, from then on by what the record gained."""
        today = window_at("daily", ZoneInfo(registry.zone), now_ns).starts_ns
        if self._spent is None or self._spent.since_ns != today:
            self._spent = self._session.reports.spent(self._tenant, today)
        else:
            self._spent = self._session.reports.spent_now(self._tenant, self._spent)
        return self._spent


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch budgets, calls per second and the last calls; Ctrl-C ends. It reads only."""
    with opened(store) as session:
        watch = Watch(session, session.tenant(tenant))
        if as_json:
            print_json(_record(watch.look(_CALLS_LEAST)))
            return
        console = out()
        if once or not console.is_terminal:
            console.print(_frame(watch.look(_lines(console)), console))
            return
        try:
            first = _frame(watch.look(_lines(console)), console)
            with Live(first, console=console, screen=True, auto_refresh=False) as live:
                while True:
                    time.sleep(INTERVAL_S)
                    live.update(_frame(watch.look(_lines(console)), console), refresh=True)
        except KeyboardInterrupt:
            return


def _frame(frame: Frame, console: Console) -> Group:
    """Everything that fits the terminal: half of it for budgets, the rest for calls."""
    lines = _lines(console)
    budgets = frame.standings[: max(1, (lines - _LINES_BESIDE) // 2)]
    more = len(frame.standings) - len(budgets)
    parts: list[Text] = [_headline(frame), _spending(frame), _rates(frame), _pace(frame.pace), Text("")]
    for part in parts:
        part.truncate(console.width, overflow="ellipsis")
    if budgets:
        parts.append(budgets_table(budgets, frame.registry, console, frame.now_ns, notes=False))
    else:
        parts.append(Text("no budget is in use yet; `aegis budget` lists them", style=DIM))
    if more:
        parts.append(Text(f"{more} more with a smaller share; `aegis budget` lists all", style=DIM))
    parts.append(Text(""))
    if frame.calls:
        room = max(_CALLS_LEAST, lines - 1 - sum(len(part.split("\n")) for part in parts))
        calls = calls_table(frame.calls, console, frame.now_ns, steady=True).split("\n")[:room]
        parts.append(Text("\n").join(calls))
    else:
        parts.append(
            Text("no calls yet; `aegis key issue AGENT` makes a key, calls with it appear here", style=DIM)
        )
    return Group(*parts)


def _headline(frame: Frame) -> Text:
    return Text.assemble(
        ("aegis ", DIM),
        (frame.registry.name, STRONG),
        (f"  {utc(frame.now_ns)}  configuration {frame.version}", DIM),
    )


def _spending(frame: Frame) -> Text:
    under_way, in_doubt = frame.open_calls.get("dispatched", 0), frame.open_calls.get("in_doubt", 0)
    return Text.assemble(
        "spent today ",
        (usd_short(frame.spent.nano_usd), STRONG),
        (f" ({frame.registry.zone})", DIM),
        (f"   under way {under_way}", "" if under_way else DIM),
        (f"   in doubt {in_doubt}", "bold magenta" if in_doubt else DIM),
    )


def _rates(frame: Frame) -> Text:
    line = Text("calls/s ")
    for effect, sign in EFFECT_SIGNS.items():
        calls = frame.effects.get(effect, 0)
        line.append(f"  {sign} {effect} {_per_second(calls)}", style=EFFECT_STYLES[effect] if calls else DIM)
    line.append(f"  over {RATE_WINDOW_S} s", style=DIM)
    return line


def _pace(pace: PaceSeen) -> Text:
    line = Text("speed   ")
    for measure, took in pace.took.items():
        if measure != "upstream":
            line.append(f"  {measure} P50 {duration_text(took.p50_ns)} P99 {duration_text(took.p99_ns)}")
    if not pace.took:
        line.append("  no call was measured", style=DIM)
    line.append(f"  upstream failures {pace.failed}", style="bold red" if pace.failed else DIM)
    if pace.refused:
        line.append(f"  refused undecided {sum(pace.refused.values())}", style="bold red")
    if pace.late:
        line.append(f"  not settled at once {pace.late}", style="bold magenta")
    line.append(f"  over {MINUTES} min", style=DIM)
    return line


def _per_second(calls: int) -> str:
    """Calls in the last ten seconds as a rate, with one decimal."""
    return f"{calls // RATE_WINDOW_S:,}.{calls % RATE_WINDOW_S}"


def _share(standing: BudgetStanding) -> int:
    """How much of a budget is taken, in millionths."""
    return (standing.spent + standing.reserved) * 1_000_000 // max(1, standing.limit)


def _lines(console: Console) -> int:
    return console.height if console.is_terminal else _LINES_PIPED


def _record(frame: Frame) -> dict[str, object]:
    quantities = frame.registry.quantities
    return {
        "tenant": frame.registry.tenant,
        "at": utc(frame.now_ns),
        "at_ns": frame.now_ns,
        "config_version": frame.version,
        "spent_today_nano_usd": frame.spent.nano_usd,
        "spent_today": usd_text(frame.spent.nano_usd),
        "spent_since_ns": frame.spent.since_ns,
        "rate_window_seconds": RATE_WINDOW_S,
        "calls_by_effect": {effect: frame.effects.get(effect, 0) for effect in EFFECT_SIGNS},
        "open_calls": frame.open_calls,
        "pace": _pace_record(frame.pace),
        "budgets": [
            standing_record(each, quantities[each.budget.quantity], frame.now_ns) for each in frame.standings
        ],
        "calls": [call_record(each) for each in frame.calls],
    }


def _pace_record(pace: PaceSeen) -> dict[str, object]:
    return {
        "window_seconds": MINUTES * 60,
        "calls_by_effect": {effect: pace.effects.get(effect, 0) for effect in EFFECT_SIGNS},
        **{
            f"{measure}_ns": {"calls": took.calls, "p50": took.p50_ns, "p99": took.p99_ns}
            for measure, took in pace.took.items()
        },
        "upstream_errors": pace.upstream_errors,
        "refused_requests": pace.refused or {},
        "settled_late": pace.late,
    }
