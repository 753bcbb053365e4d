"""What a model's own traffic would have cost at another model's prices.

Rule 1: the same numbers of each kind, call by call, at the prices (and tiers) of the other model, rounded as a bill is:
        up, once a line. At its own prices it is the bill.
Rule 2: a price that isn't known leaves a model out, with what was missing; it never counts as nothing.
Rule 3: nothing was saved. Another model counts tokens otherwise and answers otherwise, which no price tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import Kind, ModelPrice, Usage, price_of


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of one model used: each usage by kind, with how many calls used just that; and what they cost.

    `uncounted` calls beside these were settled without a usage, so nothing can be told of them.
    """

    model: str
    usages: Mapping[tuple[tuple[str, int], ...], int]
    cost_nano_usd: int
    uncounted: int = 0

    @property
    def calls(self) -> int:
        """How many calls these are."""
        return sum(self.usages.values())

    @property
    def units(self) -> dict[str, int]:
        """What they used in all, by kind."""
        found: dict[str, int] = {}
        for usage, calls in self.usages.items():
            for kind, number in usage:
                found[kind] = found.get(kind, 0) + number * calls
        return found


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Another model that the same calls could have been made of."""

    model: str
    price: ModelPrice | None
    max_input_tokens: int | None = None


class WouldCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the traffic would have cost with another model; `nano_usd` is None where that can't be told: `why` not."""

    model: str
    nano_usd: int | None
    less_nano_usd: int | None
    why: str = ""


def would_have_cost(traffic: Traffic, candidates: Iterable[Candidate]) -> list[WouldCost]:
    """What it would have cost with each, the cheapest first; those last of which it can't be told."""
    used = _Used(traffic)
    found = [_told(traffic, used, each) for each in candidates if each.model != traffic.model]
    return sorted(found, key=lambda each: (each.nano_usd is None, each.nano_usd or 0, each.model))


def cost_at(price: ModelPrice, traffic: Traffic) -> int | None:
    """What the traffic costs at a price; None where something of it has none."""
    return _cost(price, _Used(traffic))


class _Used:
    """Traffic as it is added up: once for all prices. `each` is what went into a call, what it used, and how often."""

    def __init__(self, traffic: Traffic) -> None:
        self.each = [
            (Usage(units={cast(Kind, kind): number for kind, number in units}).input_tokens, units, calls)
            for units, calls in traffic.usages.items()
        ]
        self.units = traffic.units
        self.input_tokens_max = max((tokens for tokens, _, _ in self.each), default=0)


def _told(traffic: Traffic, used: _Used, candidate: Candidate) -> WouldCost:
    most = used.input_tokens_max
    nano_usd: int | None = None
    why = ""
    if candidate.price is None:
        why = "its price isn’t known"
    elif candidate.max_input_tokens is not None and most > candidate.max_input_tokens:
        why = f"it takes {candidate.max_input_tokens:,} tokens, and {most:,} went into one call"
    else:
        nano_usd = _cost(candidate.price, used)
        if nano_usd is None:
            why = f"it has no price for {_unpriced(candidate.price, used)}"
    return WouldCost(
        model=candidate.model,
        nano_usd=nano_usd,
        less_nano_usd=None if nano_usd is None else traffic.cost_nano_usd - nano_usd,
        why=why,
    )


def _unpriced(price: ModelPrice, used: _Used) -> str:
    prices = price.at(used.input_tokens_max)
    found = [kind for kind in used.units if price_of(prices, cast(Kind, kind)) is None]
    return ", ".join(kind.replace("_", " ") for kind in found) or "some of what was used"


def _cost(price: ModelPrice, used: _Used) -> int | None:
    if len(price.tiers) == 1:
        plain = _plainly(price, used.units)
        if plain is not None:
            return plain
    known: dict[tuple[int, str], UnitPrice | None] = {}
    total = 0
    for tokens, units, calls in used.each:
        prices = price.at(tokens)
        for kind, number in units:
            key = (id(prices), kind)
            if key not in known:
                known[key] = price_of(prices, cast(Kind, kind))
            unit_price = known[key]
            if unit_price is None:
                return None
            total += calls * unit_price.amount(number)
    return total


def _plainly(price: ModelPrice, units: Mapping[str, int]) -> int | None:
    """The same at once, where every unit costs whole nano-dollars, so that no line is rounded; else None."""
    total = 0
    for kind, number in units.items():
        unit_price = price_of(price.tiers[0].prices, cast(Kind, kind))
        if unit_price is None or unit_price.nano_usd % unit_price.per:
            return None
        total += unit_price.nano_usd // unit_price.per * number
    return total
