from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.rolling import bucket_ns, length_of, rolled, rolling_label, settle_rolling

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
LENGTHS = st.sampled_from([60 * SECOND, HOUR, 5 * HOUR, DAY, 7 * DAY, 30 * DAY])


@pytest.mark.parametrize(
    ("length", "buckets"), [(HOUR, 60), (DAY, 96), (7 * DAY, 168), (30 * DAY, 30), (365 * DAY, 365)]
)
def test_buckets(length: int, buckets: int) -> None:
    """Sixty an hour, ninety-six a day, a hundred and sixty-eight a week, days beyond."""
    assert buckets == length // bucket_ns(length)


@given(LENGTHS)
def test_a_window_is_named_by_its_length(length: int) -> None:
    """And the name tells the length; other windows' names tell none."""
    assert length == length_of(rolling_label(length))
    assert None is length_of("2026-11-27")


@given(LENGTHS, st.data())
def test_what_counts_is_what_was_admitted_within_the_window(length: int, data: st.DataObject) -> None:
    """Against adding up every charge: never too little, and at most one bucket too much, however late they settle."""
    width = bucket_ns(length)
    now = data.draw(st.integers(10**18, 2 * 10**18))
    standing = Standing(buckets={})
    charges: list[tuple[int, int]] = []
    for _ in range(data.draw(st.integers(0, 12))):
        now += data.draw(st.integers(0, length))
        admitted = now - data.draw(st.integers(0, 2 * length))
        amount = data.draw(st.integers(0, 1_000))
        standing = settle_rolling(standing.reserve(amount + 1), amount + 1, amount, length, admitted, now)
        charges.append((admitted, amount))
    counted = rolled(standing, length, now).posted
    within = sum(amount for admitted, amount in charges if admitted > now - length)
    nearly = sum(amount for admitted, amount in charges if admitted > now - length - width)
    assert within <= counted <= nearly
    assert 0 == standing.pending


@given(LENGTHS, st.integers(10**18, 2 * 10**18), st.integers(1, 1_000))
def test_what_is_spent_comes_back(length: int, now: int, amount: int) -> None:
    """After the window's length, and a bucket, it is as if it had never been spent; what is pending stays."""
    standing = settle_rolling(Standing(pending=amount + 7, buckets={}), amount, amount, length, now, now)
    assert amount == rolled(standing, length, now + length - 1).posted
    later = rolled(standing, length, now + length + bucket_ns(length))
    assert (0, 7) == (later.posted, later.pending)
