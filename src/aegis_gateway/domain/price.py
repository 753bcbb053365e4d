"""Prices: what one unit costs, before and after a call.

Rule 1: an unknown price is never $0; a model without a price has none and the quote says so.
Rule 2: every line is rounded up on its own; the cost is the sum of its lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from aegis_gateway.domain.money import UnitPrice

Kind = Literal[
    "input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "cache_read_audio", "input_image",
    "cache_read_image", "input_video", "input_tool", "output", "reasoning", "output_audio", "output_image",
    "web_search", "file_search", "code_execution", "hosted_mcp",
]  # fmt: skip
"""What a model's bill can have a line for. Each token is counted once, as the most specific of these."""

OUTPUT_KINDS: tuple[Kind, ...] = ("output", "reasoning", "output_audio", "output_image")
CALL_KINDS: tuple[Kind, ...] = ("web_search", "file_search", "code_execution", "hosted_mcp")
"""Calls of tools that the provider runs itself."""
TEXT_INPUT_KINDS: tuple[Kind, ...] = ("input", "cache_read", "cache_write", "cache_write_1h")
"""What plain text can be billed as."""
INPUT_KINDS: tuple[Kind, ...] = (
    *TEXT_INPUT_KINDS, "input_audio", "cache_read_audio", "input_image", "cache_read_image", "input_video",
    "input_tool",
)  # fmt: skip
KINDS: tuple[Kind, ...] = (*INPUT_KINDS, *OUTPUT_KINDS, *CALL_KINDS)

FALLBACKS: dict[Kind, tuple[Kind, ...]] = {
    "cache_read": ("input",),
    "cache_write": ("input",),
    "input_audio": ("input",),
    "cache_read_audio": ("cache_read", "input_audio", "input"),
    "input_image": ("input",),
    "cache_read_image": ("cache_read", "input_image", "input"),
    "input_video": ("input",),
    "input_tool": ("input",),
    "reasoning": ("output",),
    "output_audio": ("output",),
    "output_image": ("output",),
}
"""Where a kind of token has no price of its own, the price of the kind that it is a part of holds, the first known.

There is none for calls, nor for what is kept in a cache for an hour, which costs more than what it is a part of.
"""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one model call used, as the provider reports it, by kind; the kinds don't overlap."""

    units: dict[Kind, int] = {}

    @property
    def input_tokens(self) -> int:
        """All tokens that went in."""
        return sum(self.units.get(kind, 0) for kind in INPUT_KINDS)

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return sum(number for kind, number in self.units.items() if kind not in CALL_KINDS)


UnitPrices = dict[Kind, UnitPrice]
"""Unit prices by kind. A price that isn't stated may be another's, see `FALLBACKS`."""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """The prices that hold for calls with more than `above_input_tokens` input tokens."""

    above_input_tokens: int
    prices: UnitPrices


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A model's price: tiers by input size in ascending order, the first above 0; whence and which version."""

    tiers: tuple[Tier, ...]
    source: str
    version: str

    def at(self, input_tokens: int) -> UnitPrices:
        """The prices that hold for a call with so many input tokens."""
        prices = self.tiers[0].prices
        for tier in self.tiers[1:]:
            if input_tokens > tier.above_input_tokens:
                prices = tier.prices
        return prices

    def dearest(self, input_tokens_max: int, kinds: Iterable[Kind]) -> UnitPrice | None:
        """The highest price of any of some kinds that a call with at most so much input can meet.

        None where none of them has a price. One that has none is not what such a call is billed by.
        """
        reachable = [self.tiers[0].prices] + [
            tier.prices for tier in self.tiers[1:] if input_tokens_max > tier.above_input_tokens
        ]
        known = [
            price for kind in kinds for prices in reachable if (price := price_of(prices, kind)) is not None
        ]
        return _dearest(known) if known else None


def price_of(prices: UnitPrices, kind: Kind) -> UnitPrice | None:
    """What a unit of a kind costs: its own price, or that of the kind it is a part of; None where neither is known."""
    price = prices.get(kind)
    if price is None:
        known = (prices[part_of] for part_of in FALLBACKS.get(kind, ()) if part_of in prices)
        return next(known, None)
    return price


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
    price_source: str = "configuration"


def charge_line(
    kind: str,
    quantity: int,
    unit: str,
    unit_price: UnitPrice,
    version: str,
    source: str = "configuration",
) -> ChargeLine:
    """A line whose amount follows from quantity and unit price, rounded up."""
    return ChargeLine(
        kind=kind,
        quantity=quantity,
        unit=unit,
        unit_price=unit_price,
        price_version=version,
        nano_usd=unit_price.amount(quantity),
        price_source=source,
    )


def model_charges(price: ModelPrice, usage: Usage) -> tuple[ChargeLine, ...] | None:
    """The bill of one model call, a line for each kind that was used; None where one of them has no price."""
    prices = price.at(usage.input_tokens)
    lines = []
    for kind, quantity in usage.units.items():
        if not quantity:
            continue
        unit_price = price_of(prices, kind)
        if unit_price is None:
            return None
        unit = "call" if kind in CALL_KINDS else "token"
        lines.append(charge_line(kind, quantity, unit, unit_price, price.version, price.source))
    return tuple(lines)


def _dearest(prices: list[UnitPrice]) -> UnitPrice:
    dearest = prices[0]
    for price in prices[1:]:
        if price.nano_usd * dearest.per > dearest.nano_usd * price.per:
            dearest = price
    return dearest
