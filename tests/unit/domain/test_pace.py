from __future__ import annotations

import pytest

from aegis_gateway.domain.pace import (
    BOUNDS_NS,
    LABELS,
    OF_NOBODY,
    ROWS_MAX,
    PaceRow,
    PaceSums,
    by_tenant,
    number_of,
    quantile_ns,
    together,
)

MS = 1_000_000
ACME = ("acme", "models", "allow")


def timed(*took_ns: int) -> PaceSums:
    """Calls that took so long."""
    sums = PaceSums()
    for each in took_ns:
        sums.time("added", ACME, each)
    return sums


def test_a_duration_counts_in_the_first_bucket_that_it_fits_into() -> None:
    """A bound is inclusive, as Prometheus has it; what is beyond all bounds has a bucket of its own."""
    first, last = BOUNDS_NS["added"][0], BOUNDS_NS["added"][-1]
    ((_, _, numbers),) = (
        (row.measure, row.labels, row.numbers) for row in timed(first, first + 1, last + 1).rows()
    )
    assert (2 * first + last + 2, 1, 1, 1) == (numbers[0], numbers[1], numbers[2], numbers[-1])
    assert 3 == sum(numbers[1:])


def test_sums_of_sums_are_sums() -> None:
    """Whoever counted what; and what was taken is not there again."""
    one, other = timed(MS, 2 * MS), timed(900 * MS)
    one.count("settlement", ("acme", "late"))
    both = PaceSums(one.rows())
    both.add(other.take())
    assert [3, 1] == sorted((number_of(row) for row in both.rows()), reverse=True)
    assert () == other.rows()
    assert not other


def test_rows_of_another_form_are_left_out() -> None:
    """As of a gateway of another version, with other buckets."""
    assert not PaceSums([PaceRow("added", ACME, (1, 2, 3)), PaceRow("refused", ("x", "y", "z"), (1,))])


def test_there_are_so_many_combinations_and_not_more() -> None:
    """What is beyond is counted, under no names; and it is nobody's."""
    sums = PaceSums()
    for number in range(ROWS_MAX + 50):
        sums.count("settlement", (f"t{number}", "settled"))
    rows = sums.rows()
    assert ROWS_MAX + 1 == len(rows)
    assert [50] == [number_of(row) for row in rows if row.labels == ("", "")]
    assert [50] == [number_of(row) for row in dict(by_tenant(rows))[OF_NOBODY]]


@pytest.mark.parametrize(
    ("took_ms", "per_mille", "expected_ms"),
    [
        ([], 500, None),
        ([0.2], 500, 0.125),  # half of the first bucket
        ([1.2] * 100, 990, 1.495),
        ([0.1] * 98 + [40, 40], 990, 40.0),
        ([9_000], 500, 5_000.0),  # nobody knows how far beyond the last bound
    ],
)
def test_quantiles_are_those_of_prometheus(
    took_ms: list[float], per_mille: int, expected_ms: float | None
) -> None:
    """Evenly spread within a bucket."""
    buckets = together("added", timed(*(int(each * MS) for each in took_ms)).rows())
    found = quantile_ns("added", buckets, per_mille)
    assert expected_ms == (None if found is None else found / MS)


def test_bounds_grow_and_tenants_come_first() -> None:
    """Whose counts they are is always the first label, or there is no tenant among them."""
    assert all(list(bounds) == sorted(set(bounds)) for bounds in BOUNDS_NS.values())
    assert all("tenant" not in labels[1:] for labels in LABELS.values())
