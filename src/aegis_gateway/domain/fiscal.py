"""Fiscal years: those that begin on a day of their own, and those of whole weeks, as shops keep their books.

Rule 1: years follow each other without a gap, each of whole months or whole weeks (52, or 53 where the rule says so).
Rule 2: a year of weeks is told by its rule alone, so nobody has to write it down in advance; the week that some years
        have more is the last one of the last period.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from itertools import accumulate
from typing import Literal, assert_never

import msgspec

Pattern = tuple[int, int, int]
"""How many weeks the three periods of a quarter have."""
PATTERNS: tuple[Pattern, ...] = ((4, 4, 5), (4, 5, 4), (5, 4, 4))

Which = Literal["first", "last", "nearest"]
FiscalPeriod = Literal["weekly", "monthly", "quarterly", "yearly"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip

_WEEK = timedelta(days=7)
_TO_THE_MIDDLE = 3
"""The first Monday of a month is the one nearest to its fourth day, the last one that nearest to its fourth last."""


class YearOfWeeks(msgspec.Struct, frozen=True, kw_only=True):
    """A year of whole weeks, by the rule that says on which day it begins or ends.

    The day is the `first` or `last` weekday (1 is Monday) of a month, or the one `nearest` to a day of it; the 29th of
    February is the end of it in every year. A year is named by the calendar year in which it ends or begins, whatever
    the few days are that it reaches over New Year.
    """

    pattern: Pattern
    edge: Literal["begins", "ends"]
    which: Which
    weekday: int
    month: int
    day: int = 0
    named_by: Literal["begin", "end"] = "end"

    def __str__(self) -> str:
        """`4-5-4 weeks, ends nearest saturday to january 31`."""
        day, month = WEEKDAYS[self.weekday - 1], MONTHS[self.month - 1]
        where = f"to {month} {self.day}" if self.which == "nearest" else f"of {month}"
        named = ", named by its begin" if self.named_by == "begin" else ""
        return f"{'-'.join(map(str, self.pattern))} weeks, {self.edge} {self.which} {day} {where}{named}"

    def first_day(self, year: int) -> date:
        """The first day of the year whose rule is about this calendar year."""
        about = self._about(year)
        ahead = (self.weekday - about.isoweekday() + _TO_THE_MIDDLE) % 7 - _TO_THE_MIDDLE
        return about + timedelta(days=ahead + (self.edge == "ends"))

    def _about(self, year: int) -> date:
        """The day to which the wanted weekday is the nearest."""
        days = monthrange(year, self.month)[1]
        match self.which:
            case "nearest":
                day = min(self.day, days)
            case "first":
                day = 1 + _TO_THE_MIDDLE
            case "last":
                day = days - _TO_THE_MIDDLE
            case _:
                assert_never(self.which)
        return date(year, self.month, day)

    def year_of(self, day: date) -> tuple[str, date, date]:
        """The year that a day is in: its name, its first day, and that of the next one."""
        year = day.year + 1
        while (first := self.first_day(year)) > day:
            year -= 1
        begins, ends = self._about(year) + _WEEK, self._about(year + 1) - _WEEK
        name = begins.year if self.named_by == "begin" else ends.year
        return f"FY{name}", first, self.first_day(year + 1)


YearStart = tuple[int, int] | YearOfWeeks
"""How years begin: on a day of a month ((4, 1) is the first of April, and the 28th is the last that may be), or by
weeks."""
CALENDAR_YEAR: YearStart = (1, 1)


def fiscal_days(period: FiscalPeriod, day: date, year: YearStart) -> tuple[str, date, date] | None:
    """Label, first day and next window's first day of a fiscal period; None where it is the same as anybody's."""
    if isinstance(year, YearOfWeeks):
        return _of_weeks(period, day, year)
    if year == CALENDAR_YEAR or period in ("weekly", "monthly"):
        return None
    return _of_months(period, day, year)


def months_later(first: date, months: int) -> date:
    """The same day of a later month."""
    index = first.month - 1 + months
    return date(first.year + index // 12, index % 12 + 1, first.day)


def _of_months(period: FiscalPeriod, day: date, starts: tuple[int, int]) -> tuple[str, date, date]:
    """Such a year is named by the calendar year in which it ends."""
    first = date(day.year, *starts)
    if day < first:
        first = date(day.year - 1, *starts)
    name = f"FY{first.year + 1}"
    if period == "yearly":
        return name, first, months_later(first, 12)
    quarter = 1
    while day >= months_later(first, 3):
        first, quarter = months_later(first, 3), quarter + 1
    return f"{name}-Q{quarter}", first, months_later(first, 3)


def _of_weeks(period: FiscalPeriod, day: date, year: YearOfWeeks) -> tuple[str, date, date]:
    name, first, following = year.year_of(day)
    weeks = (following - first).days // 7
    week = (day - first).days // 7
    match period:
        case "yearly":
            return name, first, following
        case "weekly":
            return f"{name}-W{week + 1:02d}", first + week * _WEEK, first + (week + 1) * _WEEK
        case "quarterly":
            letter, lengths = "Q", [sum(year.pattern)] * 4
        case "monthly":
            letter, lengths = "P", [*year.pattern] * 4
        case _:
            assert_never(period)
    lengths[-1] += weeks - sum(lengths)
    ends = [*accumulate(lengths)]
    index = next(place for place, end in enumerate(ends) if week < end)
    number = f"{index + 1:02d}" if period == "monthly" else f"{index + 1}"
    begin = ends[index] - lengths[index]
    return f"{name}-{letter}{number}", first + begin * _WEEK, first + ends[index] * _WEEK
