"""How fast calls go and what fails, as counts that are added up: durations in buckets, failures by kind.

Rule 1: counts only grow, and sums of counts are counts: of workers, of stretches of time, of gateways.
Rule 2: labels are what is configured or fixed here, never what a caller said.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import add
from typing import Literal

import msgspec

Measure = Literal["added", "upstream", "whole", "upstream_error", "refused", "settlement"]

LABELS: dict[Measure, tuple[str, ...]] = {
    "added": ("tenant", "door", "effect"),
    "upstream": ("tenant", "door", "connector"),
    "whole": ("tenant", "door", "effect"),
    "upstream_error": ("tenant", "connector", "kind"),
    "refused": ("door", "why"),
    "settlement": ("tenant", "how"),
}
"""What each is told apart by. What has no tenant is the gateway's own."""

DOORS = ("models", "connect", "mcp", "decisions", "authzen", "aegislib", "envoy")

_MS = 1_000_000
_FINE = tuple(
    int(each * _MS)
    for each in (
        0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 250, 500, 1_000, 5_000,
    )
)  # fmt: skip
_COARSE = tuple(
    each * _MS
    for each in (
        1, 2, 5, 10, 20, 50, 100, 200, 350, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 40_000,
        60_000, 120_000, 300_000,
    )
)  # fmt: skip
BOUNDS_NS: dict[Measure, tuple[int, ...]] = {"added": _FINE, "upstream": _COARSE, "whole": _COARSE}
"""The upper bounds of the buckets of what is a duration, each inclusive; one more bucket is for all beyond."""

ROWS_MAX = 4_096
_BEYOND = ""
OF_NOBODY = ""
"""Whose counts those are that are the gateway's own, where they are kept by tenant."""


class PaceRow(msgspec.Struct, frozen=True, array_like=True):
    """The counts of one measure under some labels: a number; of durations their sum in ns, then one for each bucket."""

    measure: Measure
    labels: tuple[str, ...]
    numbers: tuple[int, ...]


class PaceSums:
    """Counts that are added to. There are `ROWS_MAX` combinations of labels; what is beyond has empty ones."""

    def __init__(self, rows: Iterable[PaceRow] = ()) -> None:
        """Start with some."""
        self._numbers: dict[tuple[Measure, tuple[str, ...]], list[int]] = {}
        self.add(rows)

    def __bool__(self) -> bool:
        """Whether anything was counted."""
        return bool(self._numbers)

    def count(self, measure: Measure, labels: tuple[str, ...]) -> None:
        """One more happened."""
        self._of(measure, labels)[0] += 1

    def time(self, measure: Measure, labels: tuple[str, ...], took_ns: int) -> None:
        """Something took so long."""
        numbers = self._numbers.get((measure, labels)) or self._of(measure, labels)
        numbers[0] += took_ns
        numbers[1 + bisect_left(BOUNDS_NS[measure], took_ns)] += 1

    def add(self, rows: Iterable[PaceRow]) -> None:
        """Add what was counted elsewhere; rows of another form than those of now are left out."""
        for row in rows:
            if len(row.numbers) == _size(row.measure) and len(row.labels) == len(LABELS[row.measure]):
                numbers = self._of(row.measure, row.labels)
                numbers[:] = map(add, numbers, row.numbers)

    def rows(self) -> tuple[PaceRow, ...]:
        """All counts."""
        return tuple(
            PaceRow(measure, labels, tuple(numbers)) for (measure, labels), numbers in self._numbers.items()
        )

    def take(self) -> tuple[PaceRow, ...]:
        """All counts, which begin anew."""
        rows = self.rows()
        self._numbers.clear()
        return rows

    def _of(self, measure: Measure, labels: tuple[str, ...]) -> list[int]:
        found = self._numbers.get((measure, labels))
        if found is None:
            if len(self._numbers) >= ROWS_MAX:
                labels = (_BEYOND,) * len(labels)
            found = self._numbers.setdefault((measure, labels), [0] * _size(measure))
        return found


def of_tenant(row: PaceRow) -> str | None:
    """Whose counts these are; None where they are the gateway's own, or of more tenants than are told apart."""
    return (row.labels[0] or None) if LABELS[row.measure][0] == "tenant" else None


def number_of(row: PaceRow) -> int:
    """How many were counted."""
    return sum(row.numbers[1:]) if row.measure in BOUNDS_NS else row.numbers[0]


def together(measure: Measure, rows: Iterable[PaceRow]) -> tuple[int, ...]:
    """The buckets of a measure, over all labels."""
    buckets = [0] * (len(BOUNDS_NS[measure]) + 1)
    for row in rows:
        if row.measure == measure:
            for place, number in enumerate(row.numbers[1:]):
                buckets[place] += number
    return tuple(buckets)


def quantile_ns(measure: Measure, buckets: tuple[int, ...], per_mille: int) -> int | None:
    """Below what so many of a thousand durations are, as Prometheus would say: evenly spread within a bucket, and the
    last bound for what is beyond it. None where there are none.
    """
    bounds, wanted, below = BOUNDS_NS[measure], sum(buckets) * per_mille, 0
    if not wanted:
        return None
    for bound, least, number in zip(bounds, (0, *bounds), buckets, strict=False):
        if number and below + number * 1_000 >= wanted:
            return least + (bound - least) * (wanted - below) // (number * 1_000)
        below += number * 1_000
    return bounds[-1]


def by_tenant(rows: Iterable[PaceRow]) -> Iterator[tuple[str, tuple[PaceRow, ...]]]:
    """The rows of each tenant, by its name; the gateway's own are `OF_NOBODY`'s."""
    found: dict[str, list[PaceRow]] = {}
    for row in rows:
        found.setdefault(of_tenant(row) or OF_NOBODY, []).append(row)
    for tenant in sorted(found):
        yield tenant, tuple(found[tenant])


def _size(measure: Measure) -> int:
    return len(BOUNDS_NS[measure]) + 2 if measure in BOUNDS_NS else 1
