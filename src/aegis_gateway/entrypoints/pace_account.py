"""How fast a tenant's calls went in the last minutes and what failed, for page and terminal alike.

Rule: of all gateways on the store, as their ledger processes wrote it down; some seconds old.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from aegis_gateway.adapters.pace_reports import PaceReports
from aegis_gateway.domain.pace import (
    LABELS,
    OF_NOBODY,
    Measure,
    PaceRow,
    PaceSums,
    number_of,
    quantile_ns,
    together,
)

SLICE_NS = 10 * 1_000_000_000
SLICES = 30
MINUTES = 5

_MEASURES: tuple[Measure, ...] = ("added", "upstream", "whole")
_US, _MS, _S = 1_000, 1_000_000, 1_000_000_000


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """How long half of some calls took at most, and 99 of 100 of them."""

    calls: int
    p50_ns: int
    p99_ns: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one measure came to at one door, or of one upstream; `failed` is how often that upstream did."""

    measure: Measure
    of: str
    took: Took
    failed: int = 0


class PaceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in the last minutes. `decided` is by stretch of ten seconds, the oldest first; `parts` are what
    is `took`, by door and upstream. `refused` are requests of anybody that were answered without a decision, by why;
    None for who may not know of all tenants.
    """

    decided: tuple[int, ...]
    effects: dict[str, int]
    took: dict[Measure, Took]
    upstream_errors: dict[str, int]
    late: int
    parts: tuple[Part, ...] = ()
    refused: dict[str, int] | None = None

    @property
    def calls(self) -> int:
        """How many were decided."""
        return sum(self.decided)

    @property
    def failed(self) -> int:
        """How many calls' upstreams failed."""
        return sum(self.upstream_errors.values())


def read_pace(reports: PaceReports, tenant: str, now_ns: int, *, is_whole: bool = False) -> PaceSeen:
    """What was measured of a tenant's calls lately; `is_whole`: for who may know of all tenants."""
    # Whole stretches, so that what is shown changes when there is something new and not with each look.
    until_ns = now_ns - now_ns % SLICE_NS + SLICE_NS
    since_ns = until_ns - SLICES * SLICE_NS
    slices = reports.slices(tenant, since_ns, SLICE_NS, SLICES)
    rows = PaceSums(row for each in slices for row in each.rows()).rows()
    effects: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    late = 0
    for row in rows:
        match row.measure:
            case "added":
                effects[row.labels[2]] += number_of(row)
            case "upstream_error":
                errors[row.labels[2]] += number_of(row)
            case "settlement" if row.labels[1] == "late":
                late += number_of(row)
    return PaceSeen(
        decided=tuple(sum(together("added", each.rows())) for each in slices),
        effects=dict(effects),
        took={measure: took for measure in _MEASURES if (took := _took(measure, rows)) is not None},
        upstream_errors=dict(sorted(errors.items())),
        late=late,
        parts=tuple(_parts(rows)),
        refused=_refused(reports.slices(OF_NOBODY, since_ns, SLICE_NS, SLICES)) if is_whole else None,
    )


def duration_text(nanoseconds: int) -> str:
    """A duration as people read it, to two or three figures: `850 µs`, `1.2 ms`, `820 ms`, `2.4 s`."""
    if nanoseconds < _MS:
        return f"{nanoseconds // _US} µs"
    if nanoseconds < 10 * _MS:
        return f"{nanoseconds / _MS:.1f} ms"
    if nanoseconds < _S:
        return f"{nanoseconds // _MS} ms"
    return f"{nanoseconds / _S:.1f} s"


def rate_text(calls: int, seconds: int) -> str:
    """So many calls in so many seconds as a rate: `0.2`, `12.3`, `1,204`."""
    rate = calls / seconds
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 0.05 or not calls else "< 0.1"


def _refused(slices: list[PaceSums]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in (row for each in slices for row in each.rows()):
        if row.measure == "refused":
            found[row.labels[1]] += number_of(row)
    return dict(sorted(found.items()))


def _parts(rows: tuple[PaceRow, ...]) -> Iterator[Part]:
    failed: Counter[str] = Counter()
    for row in rows:
        if row.measure == "upstream_error":
            failed[row.labels[1]] += number_of(row)
    for measure in _MEASURES:
        place = LABELS[measure].index("connector" if measure == "upstream" else "door")
        for of in sorted({row.labels[place] for row in rows if row.measure == measure}):
            took = _took(
                measure, tuple(row for row in rows if row.measure == measure and row.labels[place] == of)
            )
            if took is not None:
                yield Part(
                    measure=measure, of=of, took=took, failed=failed[of] if measure == "upstream" else 0
                )


def _took(measure: Measure, rows: tuple[PaceRow, ...]) -> Took | None:
    buckets = together(measure, rows)
    p50, p99 = (quantile_ns(measure, buckets, share) for share in (500, 990))
    return None if p50 is None or p99 is None else Took(calls=sum(buckets), p50_ns=p50, p99_ns=p99)
