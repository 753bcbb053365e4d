"""Burn-down: how a window's money goes, point by point: what was left, what should be left, what will be.

Rule: what should be left follows what is usual for the window's hours, so that a night doesn't look like thrift and a
      morning like waste; where nothing is known of them it is a straight line.
"""

from __future__ import annotations

from math import ceil

import msgspec

from aegis_gateway.domain.forecast import course_of
from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse
from aegis_gateway.domain.window import Window

POINTS_MOST = 100


class BurnPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What of a limit is left at an instant: `ideal` should be, `actual` was, `expected` will be.

    `actual` is told up to now and `expected` from now on; both are there at that instant. They may fall below 0.
    """

    at_ns: int
    ideal: int
    actual: int | None = None
    expected: int | None = None


def burn_down(
    use: HourlyUse, window: Window, now_ns: int, *, spent: int, limit: int
) -> tuple[BurnPoint, ...]:
    """The points of a window that has an end, from its first instant to its last, with one at this one.

    What was spent before hours were kept is taken as spent at the window's first instant.
    """
    course = course_of(use, window, now_ns, spent)
    length_ns = window.ends_ns - window.starts_ns
    step_ns = ceil(length_ns / HOUR_NS / (POINTS_MOST - 3)) * HOUR_NS
    instants = {*range(window.starts_ns, window.ends_ns, step_ns), now_ns, window.ends_ns}
    usual = course.usual.between(window.starts_ns, window.ends_ns)
    unknown = max(0, spent - _spent_by(use, window, now_ns))
    points = []
    used, to_come, before_ns = 0.0, 0.0, window.starts_ns
    for at_ns in sorted(instants):
        used += course.usual.between(before_ns, at_ns)
        share = used / usual if usual > 0 else (at_ns - window.starts_ns) / length_ns
        actual = expected = None
        if at_ns <= now_ns:
            actual = limit - (
                spent if at_ns == now_ns else min(spent, unknown + _spent_by(use, window, at_ns))
            )
        if at_ns >= now_ns:
            to_come += course.between(max(before_ns, now_ns), at_ns)
            expected = limit - spent - round(to_come)
        points.append(
            BurnPoint(at_ns=at_ns, ideal=round(limit * (1 - share)), actual=actual, expected=expected)
        )
        before_ns = at_ns
    return tuple(points)


def _spent_by(use: HourlyUse, window: Window, at_ns: int) -> int:
    """What was spent in a window by the end of the hour in which an instant lies, or by it where it is a whole one."""
    return use.between(window.starts_ns, -(-at_ns // HOUR_NS) * HOUR_NS) if at_ns > window.starts_ns else 0
