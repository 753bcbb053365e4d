"""Money is an integer number of nano-USD (1e-9 $), signed, within 64 bits.

Rule 1: no float ever becomes money. Decimals exist at the edges only and are turned into integers here.
Rule 2: there is one rounding rule for what we charge, *up*, applied once per charge line (`UnitPrice.amount`).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NewType

import msgspec

from aegis_gateway.domain.errors import MoneyError

NanoUsd = NewType("NanoUsd", int)

NANO_PER_USD = 1_000_000_000
NANO_USD_MAX = 2**63 - 1


def nano_usd(dollars: Decimal | str | int) -> NanoUsd:
    """Turn an amount in dollars into nano-USD, exactly.

    Raises:
        MoneyError: not a finite number, finer than a nano-dollar, or beyond signed 64 bits.
    """
    return NanoUsd(scaled_integer(dollars, NANO_PER_USD))


def scaled_integer(number: Decimal | str | int, scale: int) -> int:
    """Turn a decimal number into an integer count of units of 1/`scale`, exactly.

    Raises:
        MoneyError: not a finite number, finer than one unit, or beyond signed 64 bits.
    """
    try:
        value = Decimal(number)
    except InvalidOperation:
        raise MoneyError(f"`{number}` is not a number; write it as in 20.00") from None
    if not value.is_finite():
        raise MoneyError(f"`{number}` is not a finite number; write it as in 20.00")
    if value.adjusted() > 30:
        raise MoneyError(f"`{number}` is too large; the most is {NANO_USD_MAX // scale}")
    if value.adjusted() < -30 and value != 0:
        raise MoneyError(f"`{number}` is finer than 1/{scale}; round it first")
    numerator, denominator = value.as_integer_ratio()
    units, rest = divmod(numerator * scale, denominator)
    if rest:
        raise MoneyError(f"`{number}` is finer than 1/{scale}; round it first")
    if abs(units) > NANO_USD_MAX:
        raise MoneyError(f"`{number}` is too large; the most is {NANO_USD_MAX // scale}")
    return units


def usd_text(amount_nano_usd: int, *, at_least: int = 2) -> str:
    """Write nano-USD as dollars, exactly, with no fewer than `at_least` decimals: `$41.10`, `$0.000128`."""
    sign = "-" if amount_nano_usd < 0 else ""
    dollars, nanos = divmod(abs(amount_nano_usd), NANO_PER_USD)
    decimals = f"{nanos:09d}".rstrip("0").ljust(at_least, "0")
    return f"{sign}${dollars:,}.{decimals}"


def usd_short(amount_nano_usd: int) -> str:
    """Write nano-USD as dollars at the precision that matters there: cents from a dollar up, three digits below."""
    size = abs(amount_nano_usd)
    decimals = 2 if size >= NANO_PER_USD or not size else min(9, max(2, 12 - len(str(size))))
    step = 10 ** (9 - decimals)
    rounded = (size + step // 2) // step * step
    return usd_text(-rounded if amount_nano_usd < 0 else rounded)


def usd_decimal_text(amount_nano_usd: int) -> str:
    """Write nano-USD as a plain decimal number of dollars for a header or a file: `0.000128`."""
    sign = "-" if amount_nano_usd < 0 else ""
    dollars, nanos = divmod(abs(amount_nano_usd), NANO_PER_USD)
    decimals = f"{nanos:09d}".rstrip("0")
    return f"{sign}{dollars}.{decimals}" if decimals else f"{sign}{dollars}"


def usd_rounded_up(amount_nano_usd: int, decimals: int) -> Decimal:
    """Nano-USD as dollars, rounded up to a number of decimals below ten."""
    return Decimal(-(-amount_nano_usd // 10 ** (9 - decimals))).scaleb(-decimals)


class UnitPrice(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What `per` units cost, in nano-USD: `nano_usd=150_000_000, per=1_000_000` is $0.15 a million tokens.

    Two integers instead of a decimal, because 99 prices of the catalogue are fractions of a nano-dollar per
    token.
    """

    nano_usd: int
    per: int = 1

    @classmethod
    def of(cls, dollars: Decimal | str | int, *, per: int = 1) -> UnitPrice:
        """The price of `per` units given in dollars, exact whatever its number of decimals.

        Raises:
            MoneyError: not a finite number, negative, or beyond 64 bits.
        """
        try:
            value = Decimal(dollars)
        except InvalidOperation:
            raise MoneyError(f"`{dollars}` is not a price; write dollars as in 0.15") from None
        if not value.is_finite() or value < 0 or (value and abs(value.adjusted()) > 30):
            raise MoneyError(f"`{dollars}` is not a price; write dollars as in 0.15")
        # Decimals beyond the nano-dollar go into `per`, in integers: Decimal rounds to 28 digits.
        numerator, denominator = value.as_integer_ratio()
        factor = 1
        while numerator * NANO_PER_USD * factor % denominator and per * factor <= NANO_USD_MAX:
            factor *= 10
        nanos, rest = divmod(numerator * NANO_PER_USD * factor, denominator)
        if rest or max(nanos, per * factor) > NANO_USD_MAX:
            raise MoneyError(f"`{dollars}` has too many digits for a price; round it first")
        return cls(nano_usd=nanos, per=per * factor)

    def amount(self, units: int) -> int:
        """What `units` cost, in nano-USD, rounded up: the one rounding rule for what we charge."""
        return -(-units * self.nano_usd // self.per)

    def units_within(self, amount_nano_usd: int) -> int | None:
        """The most units that cost no more than the amount, or None where any number is free."""
        if self.nano_usd == 0:
            return None
        return max(0, amount_nano_usd * self.per // self.nano_usd)
