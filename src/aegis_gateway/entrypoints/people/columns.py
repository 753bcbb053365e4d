"""What a column of a file is, and what may stand in it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

Kind = Literal["text", "usd", "count", "number", "share", "time", "flag"]
Cell = str | int | bool | Decimal | Fraction | None
Row = Sequence[Cell]


class Column(msgspec.Struct, frozen=True):
    """A column: its name as programs read it, and what stands in it; None is an empty cell.

    `usd`: an integer of nano-USD. `count`: an integer. `number`: a Decimal. `share`: a Fraction, 1 is all of it.
    `time`: nanoseconds since 1970. `flag`: a bool.
    """

    name: str
    kind: Kind = "text"
