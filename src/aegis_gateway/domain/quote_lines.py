"""The lines that a quote comes from: so many units of a kind, at which price.

Rule: the lines add up to the quote, to the nano-dollar. What rounding adds, and what a cap takes away, is a line too.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING

from aegis_gateway.domain.money import NANO_PER_USD, UnitPrice
from aegis_gateway.domain.price import CALL_KINDS, ChargeLine, charge_line, price_of
from aegis_gateway.domain.quote import (
    USD,
    ModelShape,
    Quote,
    Read,
    expected_units,
    hosted_bounds,
    input_bound,
)
from aegis_gateway.domain.registry import Model, Operation

_NANO = UnitPrice(nano_usd=1)

Lines = tuple[ChargeLine, ...]


def model_lines(model: Model, shape: ModelShape, quote: Quote) -> tuple[Lines, Lines]:
    """What a model call will likely be billed for, and what it can be at most; nothing where there is no such sum."""
    price = model.price
    if price is None:
        return (), ()
    units = expected_units(model, shape)
    prices = price.at(units["input"])
    expected = [
        charge_line(kind, number, _unit(kind), unit_price, price.version, price.source)
        for kind, number in units.items()
        if number and (unit_price := price_of(prices, kind)) is not None
    ]
    tokens, dearest = input_bound(model, price, shape)
    most = [("input", tokens, dearest)]
    most += [(kind, calls or 0, per_call) for kind, calls, per_call in hosted_bounds(model, price, shape)]
    if quote.output is not None:
        most.append(("output", quote.output.choices * quote.output.tokens, quote.output.price))
    maximum = [
        charge_line(kind, number, _unit(kind), unit_price, price.version, price.source)
        for kind, number, unit_price in most
    ]
    return (
        _adding_up(expected, quote.expected.get(USD), "cap"),
        _adding_up(maximum, quote.maximum.get(USD), "rounding"),
    )


def operation_lines(operation: Operation, read: Read, quote: Quote) -> tuple[Lines, Lines]:
    """The same of an operation, whose numbers are in the request or stated as the most that the response can have."""
    price, version = operation.price, operation.price.version
    lines = []
    if price.per_call_nano_usd:
        per_call = UnitPrice(nano_usd=price.per_call_nano_usd)
        lines.append(charge_line("call", 1, "call", per_call, version))
    if price.per_unit is not None:
        units = _number(price.units_from, read, 1)
        lines.append(charge_line("units", units if units is not None else price.units_max or 0, price.unit,
                                 price.per_unit, version))  # fmt: skip
    if price.amount_from:
        stated = _number(price.amount_from, read, NANO_PER_USD)
        amount = stated if stated is not None else price.amount_max_nano_usd or 0
        lines.append(charge_line("stated", amount, "nano-usd", _NANO, version))
    known = [line for line in lines if line.nano_usd]
    return (
        _adding_up(known, quote.expected.get(USD), "cap"),
        _adding_up(known, quote.maximum.get(USD), "rounding"),
    )


def _number(path: tuple[str, ...], read: Read, scale: int) -> int | None:
    """A number of the request in whole smallest units, rounded up; None where only the response tells it."""
    number = None if path[0] == "response" else read(path)
    return None if number is None else int((number * scale).to_integral_value(rounding=ROUND_CEILING))


def _adding_up(lines: Iterable[ChargeLine], total: int | None, rest: str) -> Lines:
    if total is None:
        return ()
    whole = tuple(lines)
    left = total - sum(line.nano_usd for line in whole)
    return whole if not left else (*whole, charge_line(rest, left, "nano-usd", _NANO, ""))


def _unit(kind: str) -> str:
    return "call" if kind in CALL_KINDS else "token"
