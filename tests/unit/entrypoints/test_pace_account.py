from __future__ import annotations

import pytest

from aegis_gateway.entrypoints.pace_account import duration_text, rate_text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 µs"),
        (850_400, "850 µs"),
        (1_249_000, "1.2 ms"),
        (10_000_000, "10 ms"),
        (999_999_999, "999 ms"),
        (2_449_000_000, "2.4 s"),
        (300_000_000_000, "300.0 s"),
    ],
)
def test_durations_are_told_to_some_figures(nanoseconds: int, text: str) -> None:
    """In the unit in which they are short."""
    assert text == duration_text(nanoseconds)


@pytest.mark.parametrize(
    ("calls", "text"), [(0, "0.0"), (1, "< 0.1"), (60, "0.2"), (3_690, "12.3"), (361_200, "1,204")]
)
def test_rates_are_never_0_where_there_were_calls(calls: int, text: str) -> None:
    """Within five minutes."""
    assert text == rate_text(calls, 300)
