"""Quotes: what a call is expected to come to, and what it can come to at most, before it is made.

Rule 1: a maximum bounds the bill or does not exist. Input tokens are bounded by the bytes of the request (no
        token is shorter than a byte), output tokens by the limit that is sent upstream. What no byte count
        bounds (URLs, files, audio) makes the quote unbounded, and names the field.
Rule 2: a model without a price has no quote: an unknown price is never $0.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal

import msgspec

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError, MoneyError
from aegis_gateway.domain.money import NANO_PER_USD, NANO_USD_MAX, UnitPrice, scaled_integer
from aegis_gateway.domain.price import ChargeLine, ToolPrice, Usage, charge_line
from aegis_gateway.domain.registry import Count, Model, Operation

USD = "usd"
TOKENS = "tokens"
CALLS = "calls"

BYTES_PER_TOKEN_EXPECTED = 4

INPUT_LINES_MAX = 3
"""Fresh, read from the cache, written to it: a bill's lines of input, each rounded up on its own."""

Read = Callable[[tuple[str, ...]], Decimal | None]
"""Reads a number at a path (`body.amount`); None where the request or response has none there."""


class OutputBound(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The part of a quote that a lower output limit lowers.

    `fixed_*` is what the maximum comes to without output. Tokens are per choice; there are `choices` of them.
    """

    tokens: int
    min_tokens: int
    choices: int
    price: UnitPrice
    fixed_nano_usd: int
    fixed_tokens: int

    def maximum(self, tokens: int) -> dict[str, int]:
        """The maxima of the quantities that output adds to, at another output limit."""
        return {
            USD: self.fixed_nano_usd + self.price.amount(self.choices * tokens),
            TOKENS: self.fixed_tokens + self.choices * tokens,
        }

    def tokens_within(self, quantity: str, available: int) -> int:
        """The highest output limit at which a quantity's maximum still fits into what is available."""
        if quantity == TOKENS:
            total = available - self.fixed_tokens
        elif quantity == USD:
            units = self.price.units_within(available - self.fixed_nano_usd)
            if available < self.fixed_nano_usd:
                return -1
            if units is None:
                return self.tokens
            total = units
        else:
            return self.tokens if available >= 0 else -1
        return min(self.tokens, total // self.choices)


class Quote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Expected and maximum of each quantity that a call carries, in smallest units.

    A quantity in `unbounded` has no maximum; the text says which field is to blame and what would bound it.
    """

    expected: dict[str, int]
    maximum: dict[str, int]
    unbounded: dict[str, str] = {}
    output: OutputBound | None = None
    price_source: str = ""
    price_version: str = ""


class ChatShape(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model request its price depends on. `output_tokens` is the caller's limit, if any."""

    input_bytes: int
    output_tokens: int | None = None
    choices: int = 1
    unbounded_by: str | None = None


def quote_model(model: Model, shape: ChatShape) -> Quote | Reason:
    """Quote a model call, or say why there is no quote."""
    if model.price is None:
        return Reason(
            code="unknown_price",
            subject=model.id,
            message=f"model `{model.id}` has no price, and an unknown price is never $0; "
            "state one under `price` in its configuration",
        )
    bounded_input = shape.input_bytes
    if shape.unbounded_by and model.max_input_tokens is not None:
        bounded_input = model.max_input_tokens
    tokens = _output_limit(model, shape)
    dearest = model.price.dearest(bounded_input)
    output = OutputBound(
        tokens=tokens,
        min_tokens=min(model.min_output_tokens, tokens),
        choices=shape.choices,
        price=dearest.output,
        fixed_nano_usd=dearest.input.amount(bounded_input) + _rounding(dearest.input),
        fixed_tokens=bounded_input,
    )
    expected = Usage(
        input=shape.input_bytes // BYTES_PER_TOKEN_EXPECTED + 1,
        output=shape.choices * min(tokens, model.expected_output_tokens),
    )
    usual = model.price.at(expected.input)
    expected_nano_usd = usual.input.amount(expected.input) + usual.output.amount(expected.output)
    maximum = output.maximum(tokens)
    if maximum[USD] > NANO_USD_MAX or maximum[TOKENS] > NANO_USD_MAX:
        raise CallError(
            "the call could cost more than can be counted; lower `max_tokens`", field="max_tokens"
        )
    unbounded = {}
    if shape.unbounded_by and model.max_input_tokens is None:
        why = (
            f"`{shape.unbounded_by}` has no upper bound on what it costs; "
            f"leave it out, or state `max_input_tokens` for model `{model.id}`"
        )
        unbounded = {USD: why, TOKENS: why}
        maximum = {}
    return Quote(
        expected={
            USD: min(expected_nano_usd, maximum.get(USD, expected_nano_usd)),
            TOKENS: expected.input + expected.output,
            CALLS: 1,
        },
        maximum={**maximum, CALLS: 1},
        unbounded=unbounded,
        output=output if not unbounded else None,
        price_source=model.price.source,
        price_version=model.price.version,
    )


def quote_operation(operation: Operation, read: Read) -> Quote:
    """Quote one operation of a connector from the numbers in its request.

    Raises:
        CallError: a number that price or quantity needs is missing, negative or too fine, with its path.
    """
    price = operation.price
    expected = maximum = price.per_call_nano_usd
    unbounded: dict[str, str] = {}
    for part in (_units_part(price, read), _amount_part(price, read)):
        if part is None:
            unbounded[USD] = _needs_a_maximum(operation, price)
        else:
            expected, maximum = expected + part, maximum + part
    quantities: dict[str, int] = {}
    for count in operation.counts:
        if count.source[0] == "response":
            if count.maximum is None:
                unbounded[count.quantity] = (
                    f"`{'.'.join(count.source)}` is only known afterwards; "
                    f"state a `max` for it in operation `{operation.id}`"
                )
            else:
                quantities[count.quantity] = count.maximum
        else:
            quantities[count.quantity] = counted(count, read)
    bounded = {} if USD in unbounded else {USD: maximum}
    return Quote(
        expected={USD: expected, CALLS: 1, **quantities},
        maximum={**bounded, CALLS: 1, **quantities},
        unbounded=unbounded,
        price_source="configuration",
        price_version=price.version,
    )


def operation_charges(operation: Operation, read: Read) -> tuple[ChargeLine, ...]:
    """The bill of one operation, from the numbers in its request and its response.

    Raises:
        CallError: a number that the price needs is not there; the caller settles at the maximum instead.
    """
    price = operation.price
    lines = []
    if price.per_call_nano_usd:
        lines.append(
            charge_line("call", 1, "call", UnitPrice(nano_usd=price.per_call_nano_usd), price.version)
        )
    if price.per_unit is not None:
        units = _whole(price.units_from, _required(price.units_from, read), 1)
        lines.append(charge_line("units", units, price.unit, price.per_unit, price.version))
    if price.amount_from:
        amount = _whole(price.amount_from, _required(price.amount_from, read), NANO_PER_USD)
        lines.append(charge_line("stated", amount, "nano-usd", UnitPrice(nano_usd=1), price.version))
    return tuple(lines)


def counted(count: Count, read: Read) -> int:
    """How much of a quantity a call carries, in the quantity's smallest unit.

    Raises:
        CallError: the number is missing, negative or finer than the quantity's unit.
    """
    number = _required(count.source, read)
    try:
        amount = scaled_integer(number, count.scale)
    except MoneyError as fault:
        raise CallError(str(fault), field=".".join(count.source)) from fault
    if amount < 0:
        raise CallError(f"`{number}` is negative; budgets count what is spent", field=".".join(count.source))
    return amount


def _rounding(price: UnitPrice) -> int:
    """What rounding up each line of input can add where tokens cost fractions of a nano-dollar."""
    return INPUT_LINES_MAX - 1 if price.nano_usd % price.per else 0


def _output_limit(model: Model, shape: ChatShape) -> int:
    tokens = shape.output_tokens if shape.output_tokens is not None else model.default_output_tokens
    return tokens if model.max_output_tokens is None else min(tokens, model.max_output_tokens)


def _units_part(price: ToolPrice, read: Read) -> int | None:
    """The maximum of the part by units; None where nothing bounds it."""
    if price.per_unit is None:
        return 0
    if price.units_from[0] != "response":
        return price.per_unit.amount(_whole(price.units_from, _required(price.units_from, read), 1))
    return None if price.units_max is None else price.per_unit.amount(price.units_max)


def _amount_part(price: ToolPrice, read: Read) -> int | None:
    """The maximum of the part that a field states; None where nothing bounds it."""
    if not price.amount_from:
        return 0
    if price.amount_from[0] != "response":
        return _whole(price.amount_from, _required(price.amount_from, read), NANO_PER_USD)
    return price.amount_max_nano_usd


def _needs_a_maximum(operation: Operation, price: ToolPrice) -> str:
    units = price.units_from and price.units_from[0] == "response" and price.units_max is None
    path, bound = (price.units_from, "max_units") if units else (price.amount_from, "max_amount")
    return (
        f"`{'.'.join(path)}` is only known afterwards; "
        f"state `{bound}` under `price` of operation `{operation.id}`"
    )


def _required(path: tuple[str, ...], read: Read) -> Decimal:
    number = read(path)
    if number is None:
        raise CallError(f"a number is needed at `{'.'.join(path)}`", field=".".join(path))
    return number


def _whole(path: tuple[str, ...], number: Decimal, scale: int) -> int:
    """A price's number in whole smallest units, rounded up: the one rounding rule for what we charge."""
    if not number.is_finite() or number < 0 or number.adjusted() > 18:
        raise CallError(f"`{number}` cannot be charged for; a number from 0 is needed", field=".".join(path))
    return int((number * scale).to_integral_value(rounding=ROUND_CEILING))
