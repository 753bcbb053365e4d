"""Digests: what is told of a scope at the end of each day, week or month.

Rule: a digest is of one whole period of the tenant's calendar, and becomes due at an hour of the day after it. So there
      is one of each period, whoever makes it and whenever that is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.fiscal import CALENDAR_YEAR, YearStart
from aegis_gateway.domain.window import Period, Window, window_at

Every = Literal["daily", "weekly", "monthly"]
EVERY: tuple[Every, ...] = get_args(Every)
What = Literal["spending", "shadow"]
WHATS: tuple[What, ...] = get_args(What)
Scope = Literal["tenant", "team", "budget"]

_PERIODS: dict[Every, Period] = {"daily": "daily", "weekly": "weekly", "monthly": "monthly"}
_NANOS = 1_000_000_000
MISSED_MAX = 400
"""How many missed periods are counted: more than a year of days."""


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What is told: of a tenant, or of one of its teams or budgets (`name`); how often, at which hour, and where.

    `what` it tells is spending with all that belongs to it, or what rules in shadow would have done.
    """

    id: str
    every: Every
    what: What = "spending"
    scope: Scope = "tenant"
    name: str = ""
    hour: int = 8
    to: tuple[str, ...] = ()

    def due(self, zone: str, now_ns: int, year_starts: YearStart = CALENDAR_YEAR) -> Window:
        """The last whole period whose digest is due, in the tenant's zone and calendar."""
        current = self._at(zone, now_ns, year_starts)
        last = self.before(zone, current, year_starts)
        where = ZoneInfo(zone)
        began = datetime.fromtimestamp(current.starts_ns // _NANOS, where)
        due = began.replace(hour=self.hour, minute=0, second=0) if self.hour else began
        # Before the hour the one before was due already, unless whoever should have sent it wasn't there.
        return last if now_ns >= int(due.timestamp()) * _NANOS else self.before(zone, last, year_starts)

    @property
    def key(self) -> str:
        """The name under which is kept of which periods it was made: of days and of weeks are two."""
        return f"{self.id}.{self.every}"

    def current(self, zone: str, now_ns: int, year_starts: YearStart = CALENDAR_YEAR) -> Window:
        """The period that is going on."""
        return self._at(zone, now_ns, year_starts)

    def before(self, zone: str, window: Window, year_starts: YearStart = CALENDAR_YEAR) -> Window:
        """The period before one."""
        return self._at(zone, window.starts_ns - _NANOS, year_starts)

    def last(self, zone: str, now_ns: int, year_starts: YearStart = CALENDAR_YEAR) -> Window:
        """The last whole period, due or not."""
        return self.before(zone, self._at(zone, now_ns, year_starts), year_starts)

    def missed(
        self, zone: str, window: Window, last_starts_ns: int | None, year_starts: YearStart = CALENDAR_YEAR
    ) -> tuple[Window, ...]:
        """The whole periods between the last one that a digest was made of and this one, the newest first."""
        found: list[Window] = []
        each = self.before(zone, window, year_starts)
        while last_starts_ns is not None and each.starts_ns > last_starts_ns and len(found) < MISSED_MAX:
            found.append(each)
            each = self.before(zone, each, year_starts)
        return tuple(found)

    def _at(self, zone: str, now_ns: int, year_starts: YearStart) -> Window:
        return window_at(_PERIODS[self.every], ZoneInfo(zone), now_ns, year_starts=year_starts)


def name_of(window: Window, zone: str) -> str:
    """A period as people name it: one day, or the first and the last."""
    where = ZoneInfo(zone)
    first = datetime.fromtimestamp(window.starts_ns // _NANOS, where).date()
    last = (datetime.fromtimestamp(window.ends_ns // _NANOS, where) - timedelta(seconds=1)).date()
    return f"{first}" if first == last else f"{first} to {last}"
