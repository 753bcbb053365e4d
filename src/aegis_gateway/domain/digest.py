"""Digests: what is told of a scope at the end of each day, week or month.

Rule: a digest is of one whole period of the tenant's calendar, and becomes due at an hour of the day after it. So there
      is one of each period, whoever makes it and whenever that is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.window import Period, Window, window_at

Every = Literal["daily", "weekly", "monthly"]
EVERY: tuple[Every, ...] = get_args(Every)
Scope = Literal["tenant", "team", "budget"]

_PERIODS: dict[Every, Period] = {"daily": "daily", "weekly": "weekly", "monthly": "monthly"}
_NANOS = 1_000_000_000


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What is told: of a tenant, or of one of its teams or budgets (`name`); how often, at which hour, and where."""

    id: str
    every: Every
    scope: Scope = "tenant"
    name: str = ""
    hour: int = 8
    to: tuple[str, ...] = ()

    def due(self, zone: str, now_ns: int) -> Window:
        """The last whole period whose digest is due."""
        where = ZoneInfo(zone)
        current = window_at(_PERIODS[self.every], where, now_ns)
        began = datetime.fromtimestamp(current.starts_ns // _NANOS, where)
        due = began.replace(hour=self.hour, minute=0, second=0) if self.hour else began
        if now_ns < int(due.timestamp()) * _NANOS:
            # Before the hour the one before was due already, unless whoever should have sent it wasn't there.
            return self._before(where, self._before(where, current))
        return self._before(where, current)

    def _before(self, zone: ZoneInfo, window: Window) -> Window:
        return window_at(_PERIODS[self.every], zone, window.starts_ns - _NANOS)


def name_of(window: Window, zone: str) -> str:
    """A period as people name it: one day, or the first and the last."""
    where = ZoneInfo(zone)
    first = datetime.fromtimestamp(window.starts_ns // _NANOS, where).date()
    last = (datetime.fromtimestamp(window.ends_ns // _NANOS, where) - timedelta(seconds=1)).date()
    return f"{first}" if first == last else f"{first} to {last}"
