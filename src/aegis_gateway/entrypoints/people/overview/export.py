"""The table behind a chart, as a file has it: exact, and whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction

from aegis_gateway.adapters.usage_reports import UsageOf
from aegis_gateway.domain.kpi import Figure
from aegis_gateway.domain.money import NANO_PER_USD
from aegis_gateway.entrypoints.people.columns import Column, Row

_MONEY = ("cost", "expected", "saved")
_COUNTS = ("calls", "settled_calls", "transactions", "overruns", "unpriced", "tokens", "output_tokens")
_NAMES = {"cost": "spent", "unpriced": "unpriced_calls"}
_DECIMALS = 12

FIGURE_COLUMNS = (
    *(Column(each) for each in ("figure", "name", "unit")),
    Column("value", "number"),
    *(Column(each) for each in ("formula", "source")),
    *(Column(each, "time") for each in ("since", "until")),
)


DAY_COLUMNS = (Column("since", "time"), Column("until", "time"), Column("words"), Column("spent_usd", "usd"))
"""What each day, or hour, has."""


def usage_columns(dimension: str) -> list[Column]:
    """What each row has, of one value of a dimension."""
    return [
        Column(dimension.replace(":", "_")),
        *(Column(f"{_NAMES.get(each, each)}_usd", "usd") for each in _MONEY),
        *(Column(_NAMES.get(each, each), "count") for each in _COUNTS),
    ]


def usage_rows(rows: Iterable[UsageOf]) -> Iterator[Row]:
    """A row for each value."""
    for row in rows:
        yield [row.values[0], *(getattr(row.sums, each) for each in (*_MONEY, *_COUNTS))]


def figure_rows(figures: Iterable[Figure], since_ns: int, until_ns: int) -> Iterator[Row]:
    """A row for each key figure of a period; dollars where its unit says so."""
    for each in figures:
        value = each.value
        is_money = each.unit == "usd"
        yield [
            each.id,
            each.name,
            each.unit,
            None if value is None else _decimal(value / NANO_PER_USD if is_money else value),
            each.formula,
            each.source,
            since_ns,
            until_ns,
        ]


def _decimal(value: Fraction) -> Decimal:
    """To the thousandth of a nano-dollar: a ratio may have no end."""
    return Decimal(round(value * 10**_DECIMALS)).scaleb(-_DECIMALS)
