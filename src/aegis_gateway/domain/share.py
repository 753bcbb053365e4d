"""Shares of agents and of calls, in ten-thousandths, as people write them: `5%`, `0.25%`."""

from __future__ import annotations

import re
from decimal import Decimal

WHOLE = 10_000
"""All of them."""

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%")


def share(text: str) -> int | None:
    """A share above nothing, and at most all; None for what is none."""
    match = _PERCENT.fullmatch(text)
    found = int(Decimal(match[1]) * 100) if match else 0
    return found if 0 < found <= WHOLE else None


def share_text(found: int) -> str:
    """A share as reports show it, with two decimals."""
    return f"{found // 100}.{found % 100:02d}%"
