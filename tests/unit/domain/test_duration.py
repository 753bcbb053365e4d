"""Durations as people write them."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.duration import duration_ns, duration_text


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("250ms", 250_000_000),
        ("1s", 10**9),
        ("90s", 90 * 10**9),
        ("1m", 60 * 10**9),
        ("1h", 3_600 * 10**9),
        ("366d", 366 * 86_400 * 10**9),
        ("367d", None),
        ("0s", None),
        ("1", None),
        ("-1s", None),
        ("1.5s", None),
        ("1 s", None),
        ("1s\n", None),
        ("", None),
        ("\u0661s", None),
    ],
)
def test_what_a_duration_is(text: str, nanoseconds: int | None) -> None:
    """A whole number above nothing with its unit, up to a leap year."""
    assert nanoseconds == duration_ns(text)


@pytest.mark.parametrize("text", ["250ms", "1s", "90s", "5m", "36h", "1d", "366d"])
def test_written_as_it_was(text: str) -> None:
    """In the largest unit that it is a whole number of."""
    length = duration_ns(text)
    assert length is not None
    assert text == duration_text(length)
    assert "60s" != duration_text(60 * 10**9)
