"""What somebody wants to see of spending, as the address says it: whose, of which period, by what, of what alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args
from urllib.parse import urlencode

import msgspec

from aegis_gateway.domain.registry import TAG
from aegis_gateway.entrypoints.people.overview.periods import (
    Period,
    Range,
    period_of,
    range_of,
    stated_period,
)

Grouping = Literal["team", "agent", "model", "tool", "project", "cost_centre", "environment"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
GROUPING_WORDS: dict[Grouping, str] = {
    "team": "team",
    "agent": "agent",
    "model": "model",
    "tool": "tool",
    "project": "project",
    "cost_centre": "cost centre",
    "environment": "environment",
}

_VALUE_MAX = 256
_TIME_MAX = 32
_DRILLED: tuple[Grouping, ...] = ("team", "agent", "model", "tool")
"""In which order one goes into it: whose it is, who it was, what was called."""


Chart = Literal["time", "top", "shares", "calendar"]
CHARTS: tuple[Chart, ...] = get_args(Chart)
CHART_WORDS: dict[Chart, str] = {
    "time": "over time",
    "top": "largest",
    "shares": "shares",
    "calendar": "calendar",
}
CALENDAR: Range = "90d"
"""What a calendar is of, where no other period of days is looked at."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. `by` is a grouping or `tag:NAME`; `of` are the values that calls must have, by either.

    `since` and `until` are the ends of a period, as the address states them, in the place of a range.
    """

    tenant: str
    range: Range = "7d"
    by: str = "team"
    of: tuple[tuple[str, str], ...] = ()
    since: str = ""
    until: str = ""
    chart: Chart = "time"

    @property
    def where(self) -> dict[str, str]:
        """Which calls alone are looked at."""
        return dict(self.of)

    def address(self, path: str = "/", **other: object) -> str:
        """The address of this view, or of one that differs in something; a range takes the place of stated ends."""
        if "range" in other:
            other = {"since": "", "until": "", **other}
        view = msgspec.structs.replace(self, **other)
        ends = [(name, text) for name, text in (("since", view.since), ("until", view.until)) if text]
        period = ends or [("range", view.range)]
        chart = [("chart", view.chart)] if view.chart != "time" else []
        pairs = [("tenant", view.tenant), *period, ("by", view.by), *view.of, *chart]
        return f"{path}?{urlencode(pairs)}"

    def period(self, zone: str, now_ns: int) -> Period:
        """The period that is looked at; a calendar's is of days."""
        stated = stated_period(self.since, self.until, zone, now_ns) if self.since else None
        if stated is not None:
            return stated
        is_short = self.chart == "calendar" and self.range in ("today", "24h", "7d")
        return period_of(CALENDAR if is_short else self.range, zone, now_ns)

    def into(self, value: str) -> str | None:
        """The address of what one row is made of: its calls alone, by the next grouping; None where there is none."""
        if self.by.startswith(TAG) and not value:
            return None  # agents without a tag have nothing in common that an address could say
        of = (*(each for each in self.of if each[0] != self.by), (self.by, value))
        following = self.below(of)
        return None if following is None else self.address(by=following, of=of)

    def below(self, of: tuple[tuple[str, str], ...] | None = None) -> Grouping | None:
        """By what one goes into a row of it; None where there is nothing below."""
        order: tuple[str, ...] = _DRILLED
        after = _DRILLED[order.index(self.by) + 1 :] if self.by in order else _DRILLED
        known = dict(self.of if of is None else of)
        return next((each for each in after if each not in known and each != self.by), None)

    def without(self, dimension: str) -> str:
        """The address of the same, of all values of a dimension; grouped by it, as before one went into it."""
        return self.address(by=dimension, of=tuple(each for each in self.of if each[0] != dimension))


def words_of(grouping: str) -> str:
    """What a grouping is called: a tag by its own name."""
    known = next((words for name, words in GROUPING_WORDS.items() if name == grouping), None)
    return known or grouping.removeprefix(TAG)


def view_of(query: Mapping[str, str], tenant: str, tags: Collection[str] = ()) -> View:
    """What an address asks for; `tags` are those of the tenant's agents. What it doesn't say, or says wrongly, is as it
    is at first.
    """
    groupings = (*GROUPINGS, *tags)
    # No store has a NUL in a text, and PostgreSQL refuses to be asked for one.
    of = tuple((each, query[each][:_VALUE_MAX].replace("\0", "")) for each in groupings if each in query)
    asked = next((each for each in groupings if each == query.get("by")), None)
    free = [each for each in _DRILLED if each not in dict(of)]
    return View(
        tenant=tenant,
        range=range_of(query),
        by=asked or (free[0] if free else "tool"),
        of=of,
        since=query.get("since", "")[:_TIME_MAX],
        until=query.get("until", "")[:_TIME_MAX],
        chart=next((each for each in CHARTS if each == query.get("chart")), "time"),
    )
