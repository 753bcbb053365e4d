"""A made-up year of spending by the hour: days and weeks, growth, holidays, spikes, outages; always the same."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

HOUR_NS = 3_600 * 1_000_000_000
FIRST = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) // 3_600
"""A Monday."""
YEAR = 52 * 168

_DAY = (1, 1, 1, 1, 1, 2, 3, 6, 10, 12, 12, 11, 9, 11, 12, 12, 11, 8, 5, 3, 2, 2, 1, 1)
_WEEK = (1.0, 1.05, 1.1, 1.05, 0.9, 0.25, 0.2)


def year(seed: int = 1, *, dollar: int = 1_000_000_000) -> dict[int, int]:
    """Hours and what was spent in them, in nano-dollars."""
    random = Random(seed)
    holidays = {random.randrange(364) for _ in range(9)}
    outages = {random.randrange(YEAR) for _ in range(8)}
    down = {hour + more for hour in outages for more in range(random.randrange(3, 12))}
    spikes = {random.randrange(YEAR): random.choice((5, 8, 15)) for _ in range(12)}
    amounts: dict[int, int] = {}
    for number in range(YEAR):
        day, hour = divmod(number, 24)
        usual = _DAY[hour] * _WEEK[day % 7] * (1 + 1.5 * number / YEAR)
        if day in holidays:
            usual *= 0.15
        spent = usual * random.lognormvariate(0, 0.35) * spikes.get(number, 1)
        if number not in down:
            amounts[FIRST + number] = round(spent * dollar)
    return amounts
