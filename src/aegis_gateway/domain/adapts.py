"""How a budget's limit follows what is used of it: what is written of that in the configuration."""

from __future__ import annotations

from typing import Literal

import msgspec

AdaptsEvery = Literal["daily", "weekly"]
AdaptsBy = Literal["automatic", "approval"]

SPREADS = 1_000
"""`k_thousandths` of one."""


class Adapts(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that follows use: once a day or a week, to the median of comparable windows and `k` spreads above it.

    `floor` and `ceiling` are in the quantity's smallest unit, `most_change` (of the limit, at one time) in
    ten-thousandths. What `applies` by `approval` waits for a person's word.
    """

    every: AdaptsEvery
    floor: int
    ceiling: int
    k_thousandths: int = 3 * SPREADS
    most_change: int = 2_000
    applies: AdaptsBy = "approval"
