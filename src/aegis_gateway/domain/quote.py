"""Quotes: what a call is expected to come to, and what it can come to at most, before it is made.

Rule 1: a maximum bounds the bill or does not exist. Input tokens are bounded by the bytes of the request (no
        token is shorter than a byte), output tokens by the limit that is sent upstream, calls of the provider's own
        tools by the limit on them. What nothing bounds (URLs, files, audio) makes the quote unbounded, and names the
        field.
Rule 2: a model, or a tool that the provider runs, without a price has no quote: an unknown price is never $0.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal

import msgspec

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError, MoneyError
from aegis_gateway.domain.money import NANO_PER_USD, NANO_USD_MAX, UnitPrice, scaled_integer
from aegis_gateway.domain.price import (
    INPUT_KINDS,
    TEXT_INPUT_KINDS,
    ChargeLine,
    Kind,
    ModelPrice,
    ToolPrice,
    charge_line,
    price_of,
)
from aegis_gateway.domain.registry import Count, Model, Operation

USD = "usd"
TOKENS = "tokens"
CALLS = "calls"

BYTES_PER_TOKEN_EXPECTED = 4

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


def capped(quote: Quote, tokens: int) -> Quote | None:
    """The quote at an output limit of so many tokens at most; None where no output limit lowers it."""
    output = quote.output
    if output is None:
        return None
    if output.tokens <= tokens:
        return quote
    lower = msgspec.structs.replace(output, tokens=tokens, min_tokens=min(output.min_tokens, tokens))
    most = lower.maximum(tokens)
    maximum = {quantity: most.get(quantity, amount) for quantity, amount in quote.maximum.items()}
    expected = {
        quantity: min(amount, maximum.get(quantity, amount)) for quantity, amount in quote.expected.items()
    }
    return msgspec.structs.replace(quote, output=lower, maximum=maximum, expected=expected)


def unpriced(why: str) -> Quote:
    """The quote of a call that nothing prices; it costs what nobody knows, never nothing."""
    return Quote(expected={CALLS: 1}, maximum={CALLS: 1}, unbounded={USD: why, TOKENS: why})


def capped_cost(quote: Quote, cost_max_nano_usd: int) -> Quote | None:
    """The quote at an output limit at which it can't cost more; None where none keeps it so low."""
    if USD not in quote.maximum:
        return None
    if quote.maximum[USD] <= cost_max_nano_usd:
        return quote
    output = quote.output
    tokens = -1 if output is None else output.tokens_within(USD, cost_max_nano_usd)
    if output is None or tokens < output.min_tokens:
        return None
    return capped(quote, tokens)


class HostedUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that the provider would run itself: which, where the request turns it on, and how often at most."""

    kind: Kind
    field: str
    calls_max: int | None = None


class ModelShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a model request its price depends on.

    `output_tokens` is the caller's limit for each choice, if any. `unbounded_input_by` names the first field whose
    tokens no count of bytes bounds, `unpriceable` one that changes what is charged in a way nothing states.
    `input_kinds` and `output_kinds` are what, beside text, the call can be billed for.
    """

    input_bytes: int
    output_tokens: int | None = None
    choices: int = 1
    has_output: bool = True
    unbounded_input_by: str | None = None
    unpriceable: str | None = None
    input_kinds: frozenset[Kind] = frozenset()
    output_kinds: frozenset[Kind] = frozenset()
    hosted: tuple[HostedUse, ...] = ()


def quote_model(model: Model, shape: ModelShape) -> Quote | Reason:
    """Quote a model call, or say why there is no quote.

    Raises:
        CallError: it could cost more than can be counted.
    """
    unpriced = _unpriced(model, shape)
    if unpriced is not None or model.price is None:
        return unpriced or _no_price(
            model, "has no price, and an unknown price is never $0; state one under `price`"
        )
    price = model.price
    unbounded = _unbounded_quantities(model, shape)
    fixed, output = _bounds(model, price, shape)
    maximum = output.maximum(output.tokens) if output is not None else fixed
    if max(maximum.values()) > NANO_USD_MAX:
        raise CallError(
            "the call could cost more than can be counted; lower its output limit", field="max_tokens"
        )
    expected = _expected(model, price, shape)
    bounded = {quantity: most for quantity, most in maximum.items() if quantity not in unbounded}
    return Quote(
        expected={
            **{quantity: min(amount, bounded.get(quantity, amount)) for quantity, amount in expected.items()},
            CALLS: 1,
        },
        maximum={**bounded, CALLS: 1},
        unbounded=unbounded,
        output=output if not unbounded else None,
        price_source=price.source,
        price_version=price.version,
    )


def quote_proxied(model: Model, shape: ModelShape) -> Quote:
    """Quote a model call that is sent as it is asked, priced or not.

    Where the caller didn't limit the output, nothing bounds it.

    Raises:
        CallError: it could cost more than can be counted.
    """
    quote = quote_model(model, shape)
    if isinstance(quote, Reason):
        return unpriced(quote.message)
    if shape.output_tokens is not None or quote.output is None:
        return msgspec.structs.replace(quote, output=None)
    why = "the caller set no output limit, and none is set for it in proxy mode"
    bounded = {name: most for name, most in quote.maximum.items() if name not in (USD, TOKENS)}
    return msgspec.structs.replace(
        quote, output=None, maximum=bounded, unbounded={USD: why, TOKENS: why, **quote.unbounded}
    )


def input_bound(model: Model, price: ModelPrice, shape: ModelShape) -> tuple[int, UnitPrice]:
    """The most tokens that can go in, and the dearest price that one of them can meet."""
    bounded_input = shape.input_bytes
    if _unbounded_input_field(shape) is not None and model.max_input_tokens is not None:
        bounded_input = max(shape.input_bytes, model.max_input_tokens)
    return bounded_input, price.dearest(bounded_input, _input_kinds(shape)) or UnitPrice(nano_usd=0)


def hosted_bounds(
    model: Model, price: ModelPrice, shape: ModelShape
) -> list[tuple[Kind, int | None, UnitPrice]]:
    """How often each of the provider's own tools can be called, if anything bounds it, and what a call of it costs."""
    bounded_input, _ = input_bound(model, price, shape)
    return [
        (
            use.kind,
            _hosted_calls_max(model, use),
            price.dearest(bounded_input, (use.kind,)) or UnitPrice(nano_usd=0),
        )
        for use in shape.hosted
    ]


def _input_kinds(shape: ModelShape) -> tuple[Kind, ...]:
    is_plain = _unbounded_input_field(shape) is None
    return (*TEXT_INPUT_KINDS, *sorted(shape.input_kinds)) if is_plain else INPUT_KINDS


def _bounds(model: Model, price: ModelPrice, shape: ModelShape) -> tuple[dict[str, int], OutputBound | None]:
    """What a call comes to at most without its output, and how its output adds to that."""
    bounded_input, dearest_input = input_bound(model, price, shape)
    fixed_nano_usd = dearest_input.amount(bounded_input) + _rounding(dearest_input, _input_kinds(shape))
    for _, calls, per_call in hosted_bounds(model, price, shape):
        fixed_nano_usd += per_call.amount(calls or 0)
    fixed = {USD: fixed_nano_usd, TOKENS: bounded_input}
    if not shape.has_output:
        return fixed, None
    output_kinds = ("output", "reasoning", *sorted(shape.output_kinds))
    dearest_output = price.dearest(bounded_input, output_kinds)
    assert dearest_output is not None, "a model without a price for its output is refused before"
    tokens = _output_limit(model, shape)
    return fixed, OutputBound(
        tokens=tokens,
        min_tokens=min(model.min_output_tokens, tokens),
        choices=shape.choices,
        price=dearest_output,
        fixed_nano_usd=fixed_nano_usd + _rounding(dearest_output, output_kinds),
        fixed_tokens=bounded_input,
    )


def _expected(model: Model, price: ModelPrice, shape: ModelShape) -> dict[str, int]:
    """What a call will likely come to: fresh text in, the usual answer out, one call of each tool that is on."""
    units = expected_units(model, shape)
    prices = price.at(units["input"])
    nano_usd = sum(
        unit_price.amount(number)
        for kind, number in units.items()
        if (unit_price := price_of(prices, kind)) is not None
    )
    return {USD: nano_usd, TOKENS: units["input"] + units["output"]}


def expected_units(model: Model, shape: ModelShape) -> dict[Kind, int]:
    """What a call will likely be billed for, by kind, if nothing lowers it."""
    made = shape.choices * min(_output_limit(model, shape), model.expected_output_tokens)
    return {
        "input": shape.input_bytes // BYTES_PER_TOKEN_EXPECTED + 1,
        "output": made if shape.has_output else 0,
        **{use.kind: 1 for use in shape.hosted},
    }


def _unpriced(model: Model, shape: ModelShape) -> Reason | None:
    """Why a call cannot be priced at all: no price of the model, of its output, or of a tool that it turns on."""
    if model.price is None:
        return None
    for use in shape.hosted:
        if use.kind not in model.hosted or model.price.dearest(0, (use.kind,)) is None:
            return _no_price(
                model,
                f"has no price for `{use.kind}`, which `{use.field}` turns on; leave it out, or state "
                f"`{use.kind}` under `hosted_tools`",
            )
    if shape.has_output and model.price.dearest(0, ("output",)) is None:
        return _no_price(model, "has no price for what it puts out; state one under `price`")
    return None


def _no_price(model: Model, why: str) -> Reason:
    return Reason(
        code="unknown_price", subject=model.id, message=f"model `{model.id}` {why} in its configuration"
    )


def _unbounded_input_field(shape: ModelShape) -> str | None:
    """The first field through which input comes that no count of bytes bounds: what tools find is read as well."""
    return shape.unbounded_input_by or (shape.hosted[0].field if shape.hosted else None)


def _unbounded_quantities(model: Model, shape: ModelShape) -> dict[str, str]:
    """The quantities that have no maximum, each with the field that is to blame and what would bound it."""
    unbounded: dict[str, str] = {}
    field = _unbounded_input_field(shape)
    if field is not None and model.max_input_tokens is None:
        why = (
            f"`{field}` has no upper bound on what it costs; leave it out, or state `max_input_tokens` for "
            f"model `{model.id}`"
        )
        unbounded = {USD: why, TOKENS: why}
    for use in shape.hosted:
        if _hosted_calls_max(model, use) is None:
            unbounded[USD] = (
                f"`{use.field}` may be used any number of times; limit it, or state `max_calls` for "
                f"`{use.kind}` under `hosted_tools` of model `{model.id}`"
            )
    if shape.unpriceable is not None:
        unbounded[USD] = (
            f"`{shape.unpriceable}` changes what is charged in a way that nothing states; leave it out"
        )
    return unbounded


def _hosted_calls_max(model: Model, use: HostedUse) -> int | None:
    """How often a tool may be called: as the request says, if the configuration doesn't say less."""
    limits = [limit for limit in (use.calls_max, model.hosted[use.kind].calls_max) if limit is not None]
    return min(limits) if limits else None


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


def _rounding(dearest: UnitPrice, kinds: tuple[Kind, ...]) -> int:
    """What rounding up each of several lines can add, where the dearest token costs a fraction of a nano-dollar.

    Where it costs whole ones, no line comes to more than its tokens at that price.
    """
    return len(kinds) - 1 if dearest.nano_usd % dearest.per else 0


def _output_limit(model: Model, shape: ModelShape) -> int:
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
