"""Prices: what one unit costs, before and after a call.

Rule 1: an unknown price is never $0; a model without a price has none and the quote says so.
Rule 2: every line is rounded up on its own; the cost is the sum of its lines.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.money import UnitPrice


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one model call, as the provider reports them. `input` includes the cached ones."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0


class TokenPrices(msgspec.Struct, frozen=True, kw_only=True):
    """Unit prices of one tier. Where a price for cached input is not known, input's own price holds."""

    input: UnitPrice
    output: UnitPrice
    cache_read: UnitPrice | None = None
    cache_write: UnitPrice | None = None


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """The prices that hold for calls with more than `above_input_tokens` input tokens."""

    above_input_tokens: int
    prices: TokenPrices


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A model's price: tiers by input size in ascending order, the first above 0; whence and which version."""

    tiers: tuple[Tier, ...]
    source: str
    version: str

    def at(self, input_tokens: int) -> TokenPrices:
        """The prices that hold for a call with so many input tokens."""
        prices = self.tiers[0].prices
        for tier in self.tiers[1:]:
            if input_tokens > tier.above_input_tokens:
                prices = tier.prices
        return prices

    def dearest(self, input_tokens_max: int) -> TokenPrices:
        """Prices that no call with at most so many input tokens exceeds, line by line."""
        reachable = [self.tiers[0].prices] + [
            tier.prices for tier in self.tiers[1:] if input_tokens_max > tier.above_input_tokens
        ]
        inputs = [
            price
            for prices in reachable
            for price in (prices.input, prices.cache_read, prices.cache_write)
            if price is not None
        ]
        return TokenPrices(input=_dearest(inputs), output=_dearest([prices.output for prices in reachable]))


class ToolPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one operation costs: the sum of a fixed part, a part by units and a part read from a field.

    `units_from` and `amount_from` are paths into the request (`body`, `query`, `path`) or the `response`.
    What only the response tells needs a stated maximum to be bounded (`units_max`, `amount_max_nano_usd`).
    """

    per_call_nano_usd: int = 0
    per_unit: UnitPrice | None = None
    unit: str = "unit"
    units_from: tuple[str, ...] = ()
    units_max: int | None = None
    amount_from: tuple[str, ...] = ()
    amount_max_nano_usd: int | None = None
    version: str = ""


class ChargeLine(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One line of a bill: so many units of a kind at a unit price, and what that comes to."""

    kind: str
    quantity: int
    unit: str
    unit_price: UnitPrice
    price_version: str
    nano_usd: int


def charge_line(kind: str, quantity: int, unit: str, unit_price: UnitPrice, version: str) -> ChargeLine:
    """A line whose amount follows from quantity and unit price, rounded up."""
    return ChargeLine(
        kind=kind,
        quantity=quantity,
        unit=unit,
        unit_price=unit_price,
        price_version=version,
        nano_usd=unit_price.amount(quantity),
    )


def model_charges(price: ModelPrice, usage: Usage) -> tuple[ChargeLine, ...]:
    """The bill of one model call, a line for each kind of token that was used."""
    prices = price.at(usage.input)
    # A provider that counts cached tokens beside `input` must not turn them into a credit.
    fresh = max(0, usage.input - usage.cache_read - usage.cache_write)
    kinds = (
        ("input", fresh, prices.input),
        ("cache_read", usage.cache_read, prices.cache_read or prices.input),
        ("cache_write", usage.cache_write, prices.cache_write or prices.input),
        ("output", usage.output, prices.output),
    )
    return tuple(
        charge_line(kind, quantity, "token", unit_price, price.version)
        for kind, quantity, unit_price in kinds
        if quantity
    )


def _dearest(prices: list[UnitPrice]) -> UnitPrice:
    dearest = prices[0]
    for price in prices[1:]:
        if price.nano_usd * dearest.per > dearest.nano_usd * price.per:
            dearest = price
    return dearest
