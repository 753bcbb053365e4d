"""From the file's decimals to the domain's integers."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import msgspec

from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.words import shown
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.errors import MoneyError
from aegis_gateway.domain.money import NANO_USD_MAX, UnitPrice, scaled_integer


def scaled(number: Decimal, scale: int, path: Path, problems: Problems) -> int:
    """A number in whole units of 1/`scale`; one that doesn't fit is told of."""
    try:
        return scaled_integer(number, scale)
    except MoneyError:
        decimals = len(str(scale)) - 1
        most = NANO_USD_MAX // scale
        finer = f"at most {decimals} decimals" if decimals else "no decimals"
        problems.add(path, f"is {shown(number)}; write a number with {finer}, up to {most}")
        return 0


def unit_price(dollars: Decimal | None, per: int, path: Path, problems: Problems) -> UnitPrice | None:
    """A price of `per` units; one that doesn't fit is told of."""
    if dollars is None:
        return None
    try:
        return UnitPrice.of(dollars, per=per)
    except MoneyError:
        problems.add(
            path, f"is {shown(dollars)}, too large or too fine for a price; write dollars as in 0.15"
        )
        return None


def digest(price: object) -> str:
    """A short name for a price's numbers: another number, another version."""
    return hashlib.sha256(msgspec.json.encode(price)).hexdigest()[:12]
