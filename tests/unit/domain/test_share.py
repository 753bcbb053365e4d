"""Shares, as they are written and shown."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.share import WHOLE, share, share_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10%", 1_000), ("0.01%", 1), ("100%", WHOLE), ("5.5%", 550),
        ("0%", None), ("0.00%", None), ("100.01%", None), ("0.001%", None), ("10", None), ("-1%", None), ("", None),
    ],
)  # fmt: skip
def test_a_share(text: str, expected: int | None) -> None:
    """Above nothing, at most all, with up to two decimals."""
    assert expected == share(text)


def test_a_share_as_it_is_shown() -> None:
    """With two decimals."""
    assert ["0.00%", "0.05%", "12.30%", "100.00%"] == [share_text(each) for each in (0, 5, 1_230, WHOLE)]
