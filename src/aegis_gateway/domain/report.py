"""The report of a month: what was planned, spent and is expected; what changed, what was saved, what is at risk.

Rule 1: everything is a figure of the ledger or made of such by arithmetic of integers; words follow from numbers alone.
Rule 2: what changed adds up: increases, decreases and the rest of a breakdown come to the whole change, to the
        nano-dollar, whatever they are broken down by.
Rule 3: savings stand beside spending and are never taken off it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

import msgspec

from aegis_gateway.domain.kpi import Deviation, Figure, calls_for, deviation

By = Literal["team", "agent", "model"]
BY: tuple[By, ...] = ("team", "agent", "model")
"""What a change is broken down by: whose, who, what."""

DRIVERS_MOST = 5
"""So many increases and so many decreases are named of each breakdown; the rest is one line."""

Tone = Literal["deny", "throttle", "ask", "shadow"]
"""How urgent a risk is, by the colour that it has everywhere."""


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in whole hours, and how people call it."""

    since_ns: int
    until_ns: int
    words: str


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """What one value of a breakdown cost, and what it had cost before; in nano-USD."""

    value: str
    nano_usd: int
    before_nano_usd: int

    @property
    def change_nano_usd(self) -> int:
        """How much more that is."""
        return self.nano_usd - self.before_nano_usd


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole change is made of: the largest increases and decreases, and all others as one."""

    by: By
    increases: tuple[Driver, ...]
    decreases: tuple[Driver, ...]
    rest: Driver
    rest_count: int

    @property
    def lines(self) -> tuple[Driver, ...]:
        """All of it, line by line, the rest last, if there is any."""
        rest = (self.rest,) if self.rest_count else ()
        return (*self.increases, *self.decreases, *rest)

    @property
    def total_nano_usd(self) -> int:
        """The whole change."""
        return sum(line.change_nano_usd for line in self.lines)


class PlanLine(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in the month: what was planned, what was spent of it, and what is expected at its end; in nano-USD.

    The plan is the limits of its `windows` that begin in the month, or, where its window is longer, that one's alone.
    `expected` is None where all of it is over, or nothing can be told.
    """

    budget: str
    owner: str
    mode: str
    window: str
    windows: int
    plan_nano_usd: int
    spent_nano_usd: int
    expected_nano_usd: int | None = None
    low_nano_usd: int | None = None
    high_nano_usd: int | None = None
    reserved_nano_usd: int = 0
    is_exhausted: bool = False

    @property
    def comes_to_nano_usd(self) -> int:
        """What it comes to in the end: what is expected, or what was spent."""
        return self.spent_nano_usd if self.expected_nano_usd is None else self.expected_nano_usd

    @property
    def deviation(self) -> Fraction | None:
        """By how much that is above the plan, as a share of it; below 0 where it is not."""
        return deviation(self.comes_to_nano_usd, self.plan_nano_usd)

    @property
    def calls_for(self) -> Deviation:
        """What that calls for."""
        return calls_for(self.deviation)


class FigurePair(msgspec.Struct, frozen=True, kw_only=True):
    """A key figure and the same of the stretch before; `before` is None where it wasn't known then."""

    now: Figure
    before: Figure | None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to tell of it, now or before."""
        return self.now.value is not None or (self.before is not None and self.before.value is not None)

    @property
    def trend(self) -> Literal["up", "down", "same", "new", ""]:
        """Which way it went; `new` where there was nothing before, empty where there is nothing now."""
        now = self.now.value
        before = None if self.before is None else self.before.value
        if now is None:
            return ""
        if before is None or (not before and now):
            return "new"
        return "same" if now == before else "up" if now > before else "down"

    @property
    def change(self) -> Fraction | None:
        """By which share it went up (above 0) or down; None where there is nothing to compare with."""
        now = self.now.value
        before = None if self.before is None else self.before.value
        return None if now is None or not before else (now - before) / before


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody should know or decide: in words, where it is dealt with, and the command, if any."""

    kind: str
    tone: Tone
    words: str
    address: str
    command: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, of one tenant's month. Money in nano-USD.

    `month` is as `2026-11`; `is_over` says whether it is whole. `before` is the stretch that it is compared with: the
    month before, or as much of it as there is of this one. `days` are what each day came to.
    """

    tenant: str
    tenant_name: str
    zone: str
    month: str
    name: str
    at_ns: int
    is_over: bool
    period: Stretch
    before: Stretch
    spent_nano_usd: int
    before_nano_usd: int
    whole_before_nano_usd: int
    expected_nano_usd: int | None
    low_nano_usd: int | None
    high_nano_usd: int | None
    calls: int
    figures: tuple[FigurePair, ...]
    savings: tuple[FigurePair, ...]
    plans: tuple[PlanLine, ...]
    plans_split: int
    changes: tuple[Changes, ...]
    risks: tuple[Point, ...]
    decisions: tuple[Point, ...]
    days: tuple[tuple[str, int], ...]

    @property
    def change_nano_usd(self) -> int:
        """How much more was spent than before."""
        return self.spent_nano_usd - self.before_nano_usd


def changes_of(
    by: By, now: Mapping[str, int], before: Mapping[str, int], most: int = DRIVERS_MOST
) -> Changes:
    """What changed between two breakdowns of the same."""
    found = [
        Driver(value=value, nano_usd=now.get(value, 0), before_nano_usd=before.get(value, 0))
        for value in {*now, *before}
    ]
    up = sorted(
        (each for each in found if each.change_nano_usd > 0),
        key=lambda each: (-each.change_nano_usd, each.value),
    )
    down = sorted(
        (each for each in found if each.change_nano_usd < 0),
        key=lambda each: (each.change_nano_usd, each.value),
    )
    rest = [*up[most:], *down[most:], *(each for each in found if not each.change_nano_usd)]
    return Changes(
        by=by,
        increases=tuple(up[:most]),
        decreases=tuple(down[:most]),
        rest=Driver(
            value="",
            nano_usd=sum(each.nano_usd for each in rest),
            before_nano_usd=sum(each.before_nano_usd for each in rest),
        ),
        rest_count=len(rest),
    )
