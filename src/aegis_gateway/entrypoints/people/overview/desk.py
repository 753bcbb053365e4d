"""What the first page shows of one tenant, read for one reader.

Rule: what is spent comes from the sums that `aegis kpi` reads (`adapters/usage_reports.py`), so both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from aegis_gateway.adapters.metrics_reports import MetricsReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.usage_reports import Dimension, UsageOf, UsageReports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.forecast import Forecast
from aegis_gateway.domain.kpi import Figure, figures
from aegis_gateway.domain.registry import TAG, UNREGISTERED, Registry
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.domain.window import Period as WindowPeriod
from aegis_gateway.entrypoints.people.budgets.balances import Balance, balances_of, fullness
from aegis_gateway.entrypoints.people.overview.alerts import Alert, alerts_since
from aegis_gateway.entrypoints.people.overview.periods import Period, Stretch, day_of, month_of
from aegis_gateway.entrypoints.people.overview.tags import agents_with, by_value, values_by_agent
from aegis_gateway.entrypoints.people.overview.view import GROUPINGS, View
from aegis_gateway.entrypoints.people.words import plural
from aegis_gateway.entrypoints.tenant_spending import TenantSpending

SERIES_MOST = 7
"""So many values have a colour of their own; the rest is one series."""
BUDGETS_SHOWN = 5
EXHAUSTED_NAMED = 3
ROWS_SHOWN = 200
_ROWS_MOST = 1_000_000


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
    """The questions about one tenant, of somebody who may see it."""

    def __init__(self, store: Store, registry: Registry) -> None:
        """Look up nothing yet."""
        self._store = store
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
        period = view.period(self._registry.zone, self.now_ns)
        since_ns, until_ns = period.since_ns, period.until_ns
        where = self._where(view)
        totals = self._usage.totals(self._tenant, since_ns, until_ns, where)
        found = self._by(view, period)
        before = self._usage.totals(self._tenant, max(0, 2 * since_ns - until_ns), since_ns, where)
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
        return self._by(view, view.period(self._registry.zone, self.now_ns))

    def series(self, spending: Spending) -> dict[str | None, list[int]]:
        """What was spent in each hour or day of the period, by the values that have a colour, and of all others."""
        stretches = [(each.since_ns, each.until_ns) for each in spending.period.stretches]
        names = [each.value for each in spending.named]
        view = spending.view
        where = self._where(view)
        if not view.by.startswith(TAG):
            return self._usage.over_time(self._tenant, stretches, _dimension(view.by), names, where)
        values = {
            agent: value
            for agent, value in values_by_agent(self._registry, view.by).items()
            if value in names
        }
        by_agent = self._usage.over_time(self._tenant, stretches, "agent", list(values), where)
        found: dict[str | None, list[int]] = {name: [0] * len(stretches) for name in (*names, None)}
        for agent, amounts in by_agent.items():
            # Those without the tag are in the rest, but where they have a colour of their own.
            named = "" if agent is None and "" in found else None if agent is None else values[agent]
            found[named] = [mine + more for mine, more in zip(found[named], amounts, strict=True)]
        return found if "" not in found else self._apart(found, names, stretches, view)

    def _apart(
        self,
        found: dict[str | None, list[int]],
        names: list[str],
        stretches: list[tuple[int, int]],
        view: View,
    ) -> dict[str | None, list[int]]:
        """The rest apart from those without a tag: the agents that have a value that has no colour."""
        values = values_by_agent(self._registry, view.by)
        others = [agent for agent, value in values.items() if value not in names]
        rest = (
            self._usage.over_time(self._tenant, stretches, "agent", others, self._where(view))
            if others
            else {}
        )
        for agent, amounts in rest.items():
            if agent is not None:
                found[None] = [mine + more for mine, more in zip(found[None], amounts, strict=True)]
                found[""] = [mine - less for mine, less in zip(found[""], amounts, strict=True)]
        return found

    def shares(self, spending: Spending) -> dict[tuple[str, str], int]:
        """What was spent by each of two groupings, one within the other; by the first alone, where there is none."""
        view, period = spending.view, spending.period
        below = view.below()
        if below is None or view.by.startswith(TAG):
            return {(each.value, ""): each.sums.cost for each in spending.lines}
        found = self._usage.by(
            self._tenant,
            period.since_ns,
            period.until_ns,
            (_dimension(view.by), below),
            limit=_ROWS_MOST,
            where=self._where(view),
        )
        return {(each.values[0], each.values[1]): each.sums.cost for each in found}

    def days(self, spending: Spending) -> list[tuple[Stretch, int]]:
        """What was spent on each day of the period."""
        stretches = spending.period.stretches
        bounds = [(each.since_ns, each.until_ns) for each in stretches]
        amounts = self._usage.over_time(self._tenant, bounds, "team", (), self._where(spending.view))[None]
        return list(zip(stretches, amounts, strict=True))

    def alerts(self) -> list[Alert]:
        """The thresholds that were passed today."""
        return alerts_since(self._store.query, self._tenant, day_of(self._registry.zone, self.now_ns)[0])

    def _by(self, view: View, period: Period) -> list[UsageOf]:
        """Rows of the table, the dearest first."""
        by = "agent" if view.by.startswith(TAG) else _dimension(view.by)
        found = self._usage.by(
            self._tenant, period.since_ns, period.until_ns, (by,), limit=_ROWS_MOST, where=self._where(view)
        )
        return by_value(found, values_by_agent(self._registry, view.by)) if view.by.startswith(TAG) else found

    def _where(self, view: View) -> dict[Dimension, str | tuple[str, ...]]:
        """Which calls alone are looked at: tags are told by the agents that have them."""
        found: dict[Dimension, str | tuple[str, ...]] = {}
        agents: set[str] | None = None
        for grouping, value in view.of:
            if grouping.startswith(TAG):
                with_it = set(agents_with(self._registry, grouping, value))
                agents = with_it if agents is None else agents & with_it
            else:
                found[_dimension(grouping)] = value
        if agents is not None:
            named = found.get("agent")
            found["agent"] = tuple(sorted(agents if named is None else agents & {str(named)}))
        return found

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
        waiting = reports.waiting_approvals(tenant)
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


def _dimension(grouping: str) -> Dimension:
    """A grouping that isn't a tag, as sums are kept by it."""
    return next(each for each in GROUPINGS if each == grouping)


def name_of(dimension: str, value: str) -> str:
    """What a value is called: some are empty, where there is nothing."""
    if value:
        return "not registered" if dimension == "team" and value == UNREGISTERED else value
    if dimension.startswith(TAG):
        return f"no {dimension.removeprefix(TAG)}"
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
