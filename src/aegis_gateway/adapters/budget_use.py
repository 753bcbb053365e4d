"""What was used of budgets: by the hour for forecasts, window by window for adaptive limits, read from either store.

Rule: reading only, by ranges of indexes, in SQL that both stores understand as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from aegis_gateway.adapters.adaptation_rows import lately_of
from aegis_gateway.adapters.reports import BudgetStanding, Query, Reports
from aegis_gateway.domain.adaptation import DAYS_LOOKED_AT, WINDOWS_COMPARED, UsedWindow
from aegis_gateway.domain.adaptation_turn import Lately, Use
from aegis_gateway.domain.burn_down import BurnPoint, burn_down
from aegis_gateway.domain.currency import PICO_PER_USD
from aegis_gateway.domain.forecast import WINDOWS_COMPARED as WINDOWS_FORECAST
from aegis_gateway.domain.forecast import Forecast, forecast, is_endless, windows_before
from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Window

_FIRST_HOUR = "select min(hour) as first from budget_hour where tenant = ? and budget = ? and scope = ?"
"""Since when hours of a balance are kept. By the primary key's beginning."""

_HOURS = "select hour, amount from budget_hour where tenant = ? and budget = ? and scope = ? and hour >= ?"
"""What was used of a balance in each hour. A range of the primary key."""

_USED = """
select "window" as label, starts_ns, ends_ns, max(posted) as used from standing
 where tenant = ? and budget = ? and starts_ns >= ? and ends_ns <= ?
 group by "window", starts_ns, ends_ns
 order by starts_ns desc
"""
"""What was used in windows that are over; of a split budget, by the scope that used most. By the primary key."""

_IN_USE = (
    'select max(posted + pending) as used from standing where tenant = ? and budget = ? and "window" = ?'
)
"""What is spent and reserved in a window; of a split budget, by the scope that has most. By the primary key."""

_CUT_SHORT = """
select 1 as refused from call
 where tenant = ? and rule = ? and decided_ns >= ? and decided_ns < ? and reason_code = 'budget_exhausted'
 limit 1
"""
"""Whether a call found a budget empty in a window. A range of the index on rules: however often others were empty."""

_DAY = 24
_HOURS_READ = 400 * _DAY
"""A year and a month of hours: as much as forecasts of months can be told from."""

_DAY_NS = _DAY * HOUR_NS


class BudgetUse:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def hourly(self, tenant: str, budget: Budget, scope: str, now_ns: int) -> HourlyUse:
        """What was used of a balance in each hour of the last year, since hours are kept of it."""
        this = now_ns // HOUR_NS
        key = (tenant, budget.id, scope)
        (found,) = self._query(_FIRST_HOUR, key)
        first = this if found["first"] is None else max(int(found["first"]), this - _HOURS_READ)
        rows = self._query(_HOURS, (*key, first))
        amounts = {int(row["hour"]): int(row["amount"]) for row in rows}
        return HourlyUse(amounts, first, ZoneInfo(budget.zone))

    def used_windows(self, tenant: str, budget: Budget, now_ns: int) -> list[UsedWindow]:
        """What was used in a budget's windows that are over, the newest first, in the unit of its limit.

        As far back as `proposed_limit` compares. Windows that the budget had before its period was changed are none
        of it. An amount of a budget with a currency is turned into it by the rate of now; without one nothing is told.
        """
        days = DAYS_LOOKED_AT if budget.period == "daily" else 7 * (WINDOWS_COMPARED + 1)
        rate = None if budget.currency is None else budget.currency.at(now_ns, budget.zone)
        if budget.currency is not None and rate is None:
            return []
        found = []
        for window, used in self._windows(tenant, budget, now_ns - (days + 1) * _DAY_NS, now_ns):
            if rate is not None:
                used = -(-used * PICO_PER_USD // rate.pico_usd)
            cut_short = used > 0 and self.was_cut_short(tenant, budget, window)
            found.append(UsedWindow(window=window, used=used, cut_short=cut_short))
        return found

    def was_cut_short(self, tenant: str, budget: Budget, window: Window) -> bool:
        """Whether a call didn't fit into what was left of a budget in a window."""
        values = (tenant, f"budget:{budget.id}", window.starts_ns, window.ends_ns)
        return bool(self._query(_CUT_SHORT, values))

    def use(self, tenant: str, budget: Budget, now_ns: int) -> Use:
        """What was used in windows that are over, and what of the present one is, in the unit of its limit."""
        (found,) = self._query(_IN_USE, (tenant, budget.id, budget.window(now_ns).label))
        return Use(windows=self.used_windows(tenant, budget, now_ns), now=int(found["used"] or 0))

    def lately(self, tenant: str, budget: Budget, since_ns: int) -> Lately:
        """What was done to its limit for good: the last of it, and all since an instant."""
        return lately_of(
            lambda sql, values: [tuple(row.values()) for row in self._query(sql, values)],
            tenant,
            budget.id,
            since_ns,
        )

    def _windows(
        self, tenant: str, budget: Budget, since_ns: int, until_ns: int
    ) -> Iterator[tuple[Window, int]]:
        for row in self._query(_USED, (tenant, budget.id, since_ns, until_ns)):
            window = Window(label=row["label"], starts_ns=row["starts_ns"], ends_ns=row["ends_ns"])
            if window == budget.window(window.starts_ns):
                yield window, int(row["used"])


def past_windows(use: HourlyUse, budget: Budget, now_ns: int, most: int = WINDOWS_FORECAST) -> list[Window]:
    """The last windows of a budget whose hours are all known, the newest first."""
    found: list[Window] = []
    for window in windows_before(budget, budget.window(now_ns), use.first):
        if len(found) == most:
            break
        found.append(window)
    return found


def forecast_of(use: HourlyUse, standing: BudgetStanding, now_ns: int) -> Forecast:
    """What will come of the window of a balance."""
    budget = standing.budget
    past = past_windows(use, budget, now_ns)
    return forecast(use, budget, now_ns, spent=standing.spent, left=standing.left, past=past)


def expected_of(query: Query, tenant: str, budget: Budget, now_ns: int) -> int | None:
    """What the window of a budget that isn't split is expected to come to, in the ledger's unit; None where that rests
    on no days of use.
    """
    if budget.per:
        return None
    (standing,) = Reports(query).standings(tenant, [budget], now_ns)
    found = forecast_of(BudgetUse(query).hourly(tenant, budget, standing.scope, now_ns), standing, now_ns)
    return found.expected if found.days else None


def burn_down_of(use: HourlyUse, standing: BudgetStanding, now_ns: int) -> tuple[BurnPoint, ...]:
    """How the window of a balance goes, point by point; none where it has no end."""
    window = standing.window
    if is_endless(window):
        return ()
    return burn_down(use, window, now_ns, spent=standing.spent, limit=standing.limit)
