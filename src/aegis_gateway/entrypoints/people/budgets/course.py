"""How a budget's window goes, as a chart draws it and a table tells it: was left, should be left, will be left.

Rule: amounts are integers of the quantity's smallest unit. `wall_ms` is what the clock on the wall of the budget's zone
      shows, as milliseconds: a chart's axis knows no zones.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.burn_down import BurnPoint
from aegis_gateway.domain.forecast import Forecast
from aegis_gateway.entrypoints.people.budgets.balances import Balance
from aegis_gateway.entrypoints.people.words import local

_NANOS = 1_000_000_000


class DrawnPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point; `words` say when."""

    wall_ms: int
    words: str
    ideal: int
    actual: int | None
    expected: int | None


class BandPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Between what and what will be left."""

    wall_ms: int
    low: int
    high: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What the chart is drawn from. `exhausted_ms` is when nothing will be left, if that is in the window; what is
    `bounded` never falls below 0, since calls are refused before.
    """

    unit: str
    scale: int
    is_money: bool
    bounded: bool
    limit: int
    now_ms: int
    exhausted_ms: int | None
    low: int | None
    points: tuple[DrawnPoint, ...]
    band: tuple[BandPoint, ...]


def course_of(balance: Balance, points: tuple[BurnPoint, ...], now_ns: int) -> Course:
    """The course of a balance whose window ends."""
    zone, forecast = balance.budget.zone, balance.forecast
    exhausted_ns = None if forecast is None else forecast.exhausted_ns
    band = () if forecast is None else _band(forecast, points, balance.standing.limit, zone)
    return Course(
        unit=balance.quantity.id.replace("_", " "),
        scale=balance.quantity.scale,
        is_money=balance.quantity.is_money,
        bounded=balance.budget.hard and balance.budget.mode == "enforce" and balance.standing.left >= 0,
        limit=balance.standing.limit,
        now_ms=_wall_ms(now_ns, zone),
        exhausted_ms=None if exhausted_ns is None else _wall_ms(exhausted_ns, zone),
        low=min((each.low for each in band), default=None),
        points=tuple(
            DrawnPoint(
                wall_ms=_wall_ms(each.at_ns, zone),
                words=local(each.at_ns, zone),
                ideal=each.ideal,
                actual=each.actual,
                expected=each.expected,
            )
            for each in points
        ),
        band=band,
    )


def _band(forecast: Forecast, points: tuple[BurnPoint, ...], limit: int, zone: str) -> tuple[BandPoint, ...]:
    """As wide at the end as the forecast's, and before as wide as is spent by then of what is to come."""
    if forecast.expected is None or forecast.low is None or forecast.high is None:
        return ()
    left, to_come = limit - forecast.spent, forecast.expected - forecast.spent
    found = []
    for each in points:
        if each.expected is None:
            continue
        so_far = left - each.expected
        more, less = forecast.high - forecast.spent, forecast.low - forecast.spent
        found.append(
            BandPoint(
                wall_ms=_wall_ms(each.at_ns, zone),
                low=left - (so_far * more // to_come if to_come else 0),
                high=left - (so_far * less // to_come if to_come else 0),
            )
        )
    return tuple(found)


def _wall_ms(at_ns: int, zone: str) -> int:
    shown = datetime.fromtimestamp(at_ns // _NANOS, UTC).astimezone(ZoneInfo(zone))
    return int(shown.replace(tzinfo=UTC).timestamp()) * 1_000
