"""Durations as people write them: `250ms`, `1s`, `1m`, `1h`, `1d`."""

from __future__ import annotations

import re

DURATION_MAX_NS = 366 * 86_400_000_000_000

_DURATION = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h|d)")
UNITS_NS = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
"""The units that durations are written in, the smallest first."""


def duration_ns(text: str) -> int | None:
    """A duration in nanoseconds, above nothing and up to a leap year; None for what is none."""
    match = _DURATION.fullmatch(text)
    length_ns = int(match[1]) * UNITS_NS[match[2]] if match else 0
    return length_ns if 0 < length_ns <= DURATION_MAX_NS else None


def duration_text(length_ns: int) -> str:
    """A duration in the largest unit that it is a whole number of: `90s`, `1h`."""
    for unit in ("d", "h", "m", "s", "ms"):
        if length_ns % UNITS_NS[unit] == 0:
            return f"{length_ns // UNITS_NS[unit]}{unit}"
    return f"{length_ns} ns"
