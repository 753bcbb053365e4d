"""Plan, spent and expected of budgets in a month, read from a store.

Rule: what was planned is what the limits of a budget's windows come to, as they are now with what was done to them for
      a while then; what was spent is what its windows have settled, to the nano-dollar.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aegis_gateway.adapters.budget_use import BudgetUse, forecast_of
from aegis_gateway.adapters.month_reports import MonthReports
from aegis_gateway.adapters.reports import BudgetStanding, Query, Reports
from aegis_gateway.domain.fiscal import CALENDAR_YEAR
from aegis_gateway.domain.forecast import Forecast, is_endless
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.limits import wants_notes
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.domain.report import PlanLine
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.months import Month

_SHORT = ("hourly", "daily", "weekly", "monthly")
"""Periods of which windows begin in every month."""
_READ_ONE_BY_ONE_MOST = 31
_NEARLY_ALL = 100


class PlanLines:
    """The lines of one tenant's month."""

    def __init__(self, query: Query, registry: Registry, month: Month) -> None:
        """Look up nothing yet."""
        self._reports = Reports(query)
        self._used = MonthReports(query)
        self._use = BudgetUse(query)
        self._registry = registry
        self._month = month
        self._tenant = registry.tenant

    def lines(self) -> list[PlanLine]:
        """One for each budget of money that isn't split, those that are furthest above their plan first."""
        found = [line for budget in self._whole() for line in self._line(budget)]
        return sorted(
            found, key=lambda each: (-(each.deviation if each.deviation is not None else -1), each.budget)
        )

    def split(self) -> int:
        """How many budgets of money are split, and so have no line."""
        return sum(bool(each.per) and self._is_money(each) for each in self._registry.budgets.values())

    def _whole(self) -> list[Budget]:
        return [each for each in self._registry.budgets.values() if not each.per and self._is_money(each)]

    def _is_money(self, budget: Budget) -> bool:
        return self._registry.quantities[budget.quantity].is_money

    def _line(self, budget: Budget) -> Iterator[PlanLine]:
        month = self._month
        at_ns = min(month.now_ns, month.until_ns - 1)
        (standing,) = self._reports.standings(self._tenant, [budget], at_ns)
        window = standing.window
        if budget.period in _SHORT:
            yield self._of_many(budget, standing)
        elif is_endless(window):
            if not month.is_over:
                yield self._of_one(standing, None)
        elif window.starts_ns < month.until_ns and window.ends_ns > month.since_ns:
            spent = None
            if month.is_over and window.ends_ns > month.until_ns:
                first, end = window.starts_ns // HOUR_NS, month.until_ns // HOUR_NS
                spent = self._used.used_in_hours(self._tenant, budget.id, first, end)
            yield self._of_one(standing, spent)

    def _of_one(self, standing: BudgetStanding, spent: int | None) -> PlanLine:
        """A budget whose window is longer than the month, or has no end."""
        goes_on = not self._month.is_over and standing.window.ends_ns > self._month.now_ns
        expected = self._forecast(standing) if goes_on and not is_endless(standing.window) else None
        return self._told(
            standing,
            window=standing.window.label,
            windows=1,
            plan=standing.limit,
            spent=standing.spent if spent is None else spent,
            reserved=standing.reserved if spent is None else 0,
            expected=expected,
        )

    def _of_many(self, budget: Budget, standing: BudgetStanding) -> PlanLine:
        """A budget of which windows begin in the month: what they come to together."""
        month = self._month
        windows = list(_windows(budget, month.since_ns, month.until_ns))
        spent, reserved = self._used.used(self._tenant, budget.id, month.since_ns, month.until_ns)
        plan = self._planned(budget, windows)
        expected = None
        if not month.is_over and windows:
            whole = Window(label=month.label, starts_ns=windows[0].starts_ns, ends_ns=windows[-1].ends_ns)
            together = _as_one(budget, whole, month.now_ns)
            expected = self._forecast(
                BudgetStanding(
                    budget=together, scope="", window=whole, reserved=reserved, spent=spent, limit=plan
                )
            )
        return self._told(
            standing,
            window=month.label if len(windows) == 1 else f"{month.label}, {budget.period}",
            windows=len(windows),
            plan=plan,
            spent=spent,
            reserved=reserved,
            expected=expected,
        )

    def _told(
        self,
        standing: BudgetStanding,
        *,
        window: str,
        windows: int,
        plan: int,
        spent: int,
        reserved: int,
        expected: Forecast | None,
    ) -> PlanLine:
        budget = standing.budget
        return PlanLine(
            budget=budget.id,
            owner=budget.owner,
            mode="shadow" if self._registry.proxy is not None else budget.mode,
            window=window,
            windows=windows,
            plan_nano_usd=plan,
            spent_nano_usd=spent,
            reserved_nano_usd=reserved,
            expected_nano_usd=None if expected is None else expected.expected,
            low_nano_usd=None if expected is None else expected.low,
            high_nano_usd=None if expected is None else expected.high,
            is_exhausted=not self._month.is_over and self._is_exhausted(standing),
        )

    def _forecast(self, standing: BudgetStanding) -> Forecast | None:
        use = self._use.hourly(self._tenant, standing.budget, "", self._month.now_ns)
        found = forecast_of(use, standing, self._month.now_ns)
        return None if found.basis == "nothing" else found

    def _planned(self, budget: Budget, windows: list[Window]) -> int:
        is_plain = not budget.changes and not wants_notes(budget)
        if is_plain:
            return budget.limit * len(windows)
        read = windows if len(windows) <= _READ_ONE_BY_ONE_MOST else windows[:1]
        limits = [
            standing.limit
            for window in read
            for standing in self._reports.standings(self._tenant, [budget], window.starts_ns)
        ]
        return sum(limits) if len(read) == len(windows) else sum(limits) * len(windows)

    def _is_exhausted(self, standing: BudgetStanding) -> bool:
        """Whether nothing is left, or so little that a call has not fitted into it."""
        return standing.left <= 0 or (
            standing.left * _NEARLY_ALL < standing.limit
            and self._use.was_cut_short(self._tenant, standing.budget, standing.window)
        )


def _as_one(budget: Budget, whole: Window, now_ns: int) -> Budget:
    """A budget as if all of a month's windows were one: by the months before, where they are a month."""
    plain = msgspec.structs.replace(budget, changes=(), thresholds=(), length_ns=0, year_starts=CALENDAR_YEAR)
    monthly = msgspec.structs.replace(plain, period="monthly")
    found = monthly.window(now_ns)
    if (found.starts_ns, found.ends_ns) == (whole.starts_ns, whole.ends_ns):
        return monthly
    return msgspec.structs.replace(plain, period="once", once=whole)


def _windows(budget: Budget, since_ns: int, until_ns: int) -> Iterator[Window]:
    """The windows of a budget that begin in a stretch of time."""
    window = budget.window(since_ns)
    if window.starts_ns < since_ns:
        window = budget.window(window.ends_ns)
    while window.starts_ns < until_ns:
        yield window
        window = budget.window(window.ends_ns)
