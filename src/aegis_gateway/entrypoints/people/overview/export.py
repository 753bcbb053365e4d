"""The table behind a chart, as a file has it: exact, and whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_gateway.adapters.usage_reports import UsageOf
from aegis_gateway.entrypoints.people.columns import Column, Row

_MONEY = ("cost", "expected", "saved")
_COUNTS = ("calls", "settled_calls", "transactions", "overruns", "unpriced", "tokens", "output_tokens")
_NAMES = {"cost": "spent", "unpriced": "unpriced_calls"}


def usage_columns(dimension: str) -> list[Column]:
    """What each row has, of one value of a dimension."""
    return [
        Column(dimension),
        *(Column(f"{_NAMES.get(each, each)}_usd", "usd") for each in _MONEY),
        *(Column(_NAMES.get(each, each), "count") for each in _COUNTS),
    ]


def usage_rows(rows: Iterable[UsageOf]) -> Iterator[Row]:
    """A row for each value."""
    for row in rows:
        yield [row.values[0], *(getattr(row.sums, each) for each in (*_MONEY, *_COUNTS))]
