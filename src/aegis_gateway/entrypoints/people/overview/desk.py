"""What the first page shows of one tenant, read for one reader.

Rule: what is spent comes from the sums that `aegis kpi` reads (`adapters/usage_reports.py`), so both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from aegis_gateway.adapters.metrics_reports import MetricsReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.usage_reports import UsageOf, UsageReports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.forecast import Forecast
from aegis_gateway.domain.kpi import Figure, figures
from aegis_gateway.domain.registry import UNREGISTERED, Registry
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.domain.window import Period as WindowPeriod
from aegis_gateway.entrypoints.people.approvals.desk import ApprovalsDesk
from aegis_gateway.entrypoints.people.budgets.balances import Balance, balances_of, fullness
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.overview.periods import Period, day_of, month_of, period_of
from aegis_gateway.entrypoints.people.overview.view import View
from aegis_gateway.entrypoints.people.reader import Reader
from aegis_gateway.entrypoints.people.words import plural
from aegis_gateway.entrypoints.tenant_spending import TenantSpending

SERIES_MOST = 7
"""So many values have a colour of their own; the rest is one series."""
BUDGETS_SHOWN = 5
EXHAUSTED_NAMED = 3
ROWS_SHOWN = 200


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Something that wants somebody: what it is, and the page where it is dealt with."""

    kind: str
    words: str
    address: str


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent so far today or this month, what it will come to, and what the one before came to."""

    nano_usd: int
    before_nano_usd: int
    forecast: Forecast


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table behind the chart. `series` is its colour's number; `into` leads to what it is made of."""

    value: str
    name: str
    sums: UsageSum
    series: int
    into: str | None


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent in a period, by something: all of it, and row by row."""

    view: View
    period: Period
    figures: tuple[Figure, ...]
    total: UsageSum
    before_nano_usd: int
    lines: tuple[Line, ...]
    unlisted: int

    @property
    def named(self) -> tuple[Line, ...]:
        """The rows that have a colour of their own."""
        return tuple(each for each in self.lines if each.series < SERIES_MOST)


class OverviewDesk:
    """The questions of one reader about one tenant that they may see."""

    def __init__(self, office: Office, store: Store, reader: Reader, registry: Registry) -> None:
        """Look up nothing yet."""
        self._office = office
        self._store = store
        self._reader = reader
        self._registry = registry
        self._tenant = registry.tenant
        self._usage = UsageReports(store.query)
        self.now_ns = store.clock_ns()
        self._spending = TenantSpending(store.query, registry, self.now_ns)

    def today(self) -> Spent:
        """What was spent today."""
        return self._spent("daily", day_of)

    def month(self) -> Spent:
        """What was spent this month."""
        return self._spent("monthly", month_of)

    def spending(self, view: View) -> Spending:
        """What was spent in a period, by something."""
        period = period_of(view.range, self._registry.zone, self.now_ns)
        since_ns, until_ns = period.since_ns, period.until_ns
        totals = self._usage.totals(self._tenant, since_ns, until_ns, view.where)
        found = self._usage.by(self._tenant, since_ns, until_ns, (view.by,), where=view.where)
        before = self._usage.totals(self._tenant, 2 * since_ns - until_ns, since_ns, view.where)
        return Spending(
            view=view,
            period=period,
            figures=figures(totals),
            total=totals.sums,
            before_nano_usd=before.sums.cost,
            lines=tuple(_lines(view, found[:ROWS_SHOWN])),
            unlisted=max(0, len(found) - ROWS_SHOWN),
        )

    def rows(self, view: View) -> list[UsageOf]:
        """All rows of the table, for an export."""
        period = period_of(view.range, self._registry.zone, self.now_ns)
        return self._usage.by(
            self._tenant, period.since_ns, period.until_ns, (view.by,), limit=1_000_000, where=view.where
        )

    def series(self, spending: Spending) -> dict[str | None, list[int]]:
        """What was spent in each hour or day of the period, by the values that have a colour, and of all others."""
        stretches = [(each.since_ns, each.until_ns) for each in spending.period.stretches]
        names = [each.value for each in spending.named]
        view = spending.view
        return self._usage.over_time(self._tenant, stretches, view.by, names, view.where)

    def budgets(self) -> list[Balance]:
        """Balances of budgets that aren't split, the fullest first."""
        whole = [each for each in self._registry.budgets.values() if not each.per]
        return sorted(balances_of(self._store.query, self._registry, whole, self.now_ns), key=fullness)

    def needs(self, balances: Sequence[Balance]) -> list[Need]:
        """What wants somebody, the most urgent kind first."""
        return list(self._needs(balances))

    def _needs(self, balances: Sequence[Balance]) -> Iterator[Need]:
        tenant = self._tenant
        reports = MetricsReports(self._store.query)
        waiting = len(ApprovalsDesk(self._office, self._store, self._reader).waiting(tenant))
        if waiting:
            words = f"{plural(waiting, 'approval')} {'waits' if waiting == 1 else 'wait'}"
            yield Need(kind="ask", words=words, address=f"/approvals?tenant={tenant}")
        empty = [each for each in balances if each.state == "exhausted" and each.budget.mode == "enforce"]
        for each in empty[:EXHAUSTED_NAMED]:
            words = f"Budget {each.name} is exhausted"
            yield Need(kind="deny", words=words, address=f"/budgets/{tenant}/{each.budget.id}")
        if len(empty) > EXHAUSTED_NAMED:
            words = f"{plural(len(empty) - EXHAUSTED_NAMED, 'more budget')} exhausted"
            yield Need(kind="deny", words=words, address=f"/budgets?tenant={tenant}")
        incidents = reports.open_incidents(tenant)
        if incidents:
            words = plural(sum(incidents.values()), "open incident")
            yield Need(kind="deny", words=words, address=f"/incidents?tenant={tenant}")
        doubtful = Reports(self._store.query).open_calls(tenant).get("in_doubt", 0)
        if doubtful:
            words = f"{plural(doubtful, 'call')} in doubt, counted at {'its' if doubtful == 1 else 'their'} maximum"
            address = f"/calls?tenant={tenant}&state=in_doubt&since=ever"
            yield Need(kind="throttle", words=words, address=address)
        dead = reports.deliveries(tenant).get("dead", 0)
        if dead:
            words = f"{plural(dead, 'message')} {'was' if dead == 1 else 'were'} given up"
            yield Need(kind="throttle", words=words, address=f"/notifications?state=dead&tenant={tenant}")

    def _spent(self, period: WindowPeriod, bounds: Callable[[str, int], tuple[int, int]]) -> Spent:
        since_ns, until_ns = bounds(self._registry.zone, self.now_ns)
        before_ns, _ = bounds(self._registry.zone, since_ns - 1)
        spent = self._cost(since_ns, until_ns)
        return Spent(
            nano_usd=spent,
            before_nano_usd=self._cost(before_ns, since_ns),
            forecast=self._spending.forecast(period, spent),
        )

    def _cost(self, since_ns: int, until_ns: int) -> int:
        return self._usage.totals(self._tenant, since_ns, until_ns).sums.cost


def name_of(dimension: str, value: str) -> str:
    """What a value is called: some are empty, where there is nothing."""
    if value:
        return "not registered" if dimension == "team" and value == UNREGISTERED else value
    return {"model": "no model (tools)", "project": "no project"}.get(dimension, "none")


def _lines(view: View, found: Sequence[UsageOf]) -> Iterator[Line]:
    for place, each in enumerate(found):
        (value,) = each.values
        yield Line(
            value=value,
            name=name_of(view.by, value),
            sums=each.sums,
            series=min(place, SERIES_MOST),
            into=view.into(value),
        )
