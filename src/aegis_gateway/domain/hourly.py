"""What is spent of a budget hour by hour, and what is usual for an hour of the week.

Rule 1: hours are UTC and counted since 1970. What is usual is told by the clock on the wall of the budget's zone, so
        that a morning stays a morning when the clocks change.
Rule 2: statistics are floats and stay statistics: what becomes an amount again is rounded, and goes into no ledger.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from itertools import accumulate
from statistics import fmean
from typing import Literal

HOUR_NS = 3_600 * 1_000_000_000
WEEK = 168
"""Hours in a week."""

WEEKS_LOOKED_AT = 8
"""How far back what is usual is looked for: two months, so that it has forgotten last quarter's agents."""

_WEEKS_LEAST, _DAYS_LEAST = 2, 3

Basis = Literal["weeks", "days", "pace", "nothing"]
"""What a forecast rests on: hours of the week, hours of the day, the window's pace alone, or nothing spent at all."""


class HourlyUse:
    """What was spent in which hour, since hours are kept.

    `first` is the first hour that is kept; an hour after it without an amount is one in which nothing was spent.
    """

    def __init__(self, amounts: Mapping[int, int], first: int, zone: tzinfo) -> None:
        """Take what was read; `zone` is the budget's."""
        self.first = first
        self._amounts = amounts
        self._zone = zone
        self._slots: dict[int, int] = {}
        self._alike: dict[int, tuple[dict[int, list[int]], int]] = {}
        self._sums: tuple[list[int], list[int]] | None = None

    def amount(self, hour: int) -> int:
        """What was spent in an hour."""
        return self._amounts.get(hour, 0)

    def between(self, from_ns: int, to_ns: int) -> int:
        """What was spent in a stretch of time; of an hour that it begins in the midst of, the part that lies in it.

        Windows begin in the midst of an hour where a zone is so many and a half hours from UTC.
        """
        if to_ns <= from_ns:
            return 0
        first, last = from_ns // HOUR_NS, (to_ns - 1) // HOUR_NS
        if first == last:
            return round(self.amount(first) * ((to_ns - from_ns) / HOUR_NS))
        begin = self.amount(first) * (((first + 1) * HOUR_NS - from_ns) / HOUR_NS)
        end = self.amount(last) * ((to_ns - last * HOUR_NS) / HOUR_NS)
        return self._before(last) - self._before(first + 1) + round(begin + end)

    def _before(self, hour: int) -> int:
        """What was spent in all hours before one. A year is asked about a hundred times for one chart."""
        if self._sums is None:
            hours = sorted(self._amounts)
            self._sums = hours, [0, *accumulate(self._amounts[each] for each in hours)]
        hours, sums = self._sums
        return sums[bisect_left(hours, hour)]

    def alike(self, slot: int, cycle: int, first: int, before: int) -> list[int]:
        """What was spent in those hours of a stretch that are one of a cycle, as all that are ten in the morning."""
        hours, until = self._alike.get(cycle, ({}, self.first))
        for hour in range(until, before):
            hours.setdefault(self.slot(hour) % cycle, []).append(hour)
        self._alike[cycle] = hours, max(until, before)
        found = hours.get(slot, [])
        return [self.amount(hour) for hour in found[bisect_left(found, first) : bisect_left(found, before)]]

    def slot(self, hour: int) -> int:
        """Which hour of the week it is, in the budget's zone."""
        slot = self._slots.get(hour)
        if slot is None:
            local = datetime.fromtimestamp(hour * 3_600, tz=UTC).astimezone(self._zone)
            slot = self._slots[hour] = local.weekday() * 24 + local.hour
        return slot


class Usual:
    """What is usual for an hour, from those before another: the mean of the same hours of the last weeks.

    The mean, since hours are added up: what agents spend is uneven and many hours are empty, and medians of such hours
    come to far less than the whole. One hour that was out of all bounds weighs an eighth of itself for two months; a
    forecast is then set right by the window's own pace.
    """

    def __init__(self, use: HourlyUse, before: int) -> None:
        """Look at the last weeks before the hour `before`, or the last days where there are no two weeks."""
        self._use = use
        kept = max(0, before - use.first)
        weeks, days = min(kept // WEEK, WEEKS_LOOKED_AT), kept // 24
        self.basis: Basis = "weeks" if weeks >= _WEEKS_LEAST else "days" if days >= _DAYS_LEAST else "pace"
        self.days = 7 * weeks if self.basis == "weeks" else days
        self._cycle = WEEK if self.basis == "weeks" else 24
        self._before = before
        self._amounts: dict[int, float] = {}

    def between(self, from_ns: int, to_ns: int) -> float:
        """What usually is spent in a stretch of time."""
        if self.basis == "pace":
            return 0.0
        return sum(self.in_hour(hour) * share for hour, share in parts(from_ns, to_ns))

    def in_hour(self, hour: int) -> float:
        """What usually is spent in an hour."""
        if self.basis == "pace":
            return 0.0
        slot = self._use.slot(hour) % self._cycle
        if slot not in self._amounts:
            found = self._use.alike(slot, self._cycle, self._before - self.days * 24, self._before)
            self._amounts[slot] = fmean(found) if found else 0.0
        return self._amounts[slot]


def parts(from_ns: int, to_ns: int) -> list[tuple[int, float]]:
    """The hours of a stretch of time, each with how much of it lies in the stretch."""
    if to_ns <= from_ns:
        return []
    first, last = from_ns // HOUR_NS, (to_ns - 1) // HOUR_NS
    found = [(hour, 1.0) for hour in range(first, last + 1)]
    found[0] = (first, (min(to_ns, (first + 1) * HOUR_NS) - from_ns) / HOUR_NS)
    if last > first:
        found[-1] = (last, (to_ns - last * HOUR_NS) / HOUR_NS)
    return found
