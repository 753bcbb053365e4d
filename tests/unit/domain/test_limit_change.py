"""What changes add to a limit, and when."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.limit_change import LimitChange, changed, lowest, turns

MORE = LimitChange(amount=50, starts_ns=10, ends_ns=20)
LASTS = LimitChange(amount=-30, starts_ns=15)


@pytest.mark.parametrize(
    ("now_ns", "limit"), [(9, 100), (10, 150), (14, 150), (15, 120), (19, 120), (20, 70), (2**62, 70)]
)
def test_changes_begin_and_end_to_the_nanosecond(now_ns: int, limit: int) -> None:
    """From its first nanosecond to the one before its last a change acts, and those that do add up."""
    assert limit == changed(100, (MORE, LASTS), now_ns)


def test_a_limit_is_never_below_nothing() -> None:
    """What would be less than nothing is nothing."""
    assert 0 == changed(20, (LASTS,), 15)


def test_the_lowest_limit_of_a_stretch_is_found_at_its_turns() -> None:
    """Between two of them nothing changes; what lies outside of the stretch doesn't count."""
    assert [12, 15, 20] == list(turns((MORE, LASTS), 12, None))
    assert [100, 70, 120, -30] == [
        lowest(100, (MORE, LASTS), 0, 12),
        lowest(100, (MORE, LASTS), 0, None),
        lowest(100, (MORE, LASTS), 15, 20),
        lowest(0, (LASTS,), 0, None),
    ]
