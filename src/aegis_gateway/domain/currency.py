"""Currencies: what one unit of another money is worth in dollars, and since when.

Rule 1: the ledger counts dollars. A rate turns a budget's limit into them, and what people read back into its currency.
Rule 2: a rate is an integer: what one unit is worth in millionths of a millionth of a dollar. A limit is rounded down.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.money import NANO_PER_USD, NANO_USD_MAX, usd_text

PICO_PER_USD = 10**12
RATES_MAX = 400
"""How many rates one currency may have: they go with the claims of its budgets."""

_NANOS = 1_000_000_000
_DECIMALS_SHOWN = 6


class ExchangeRate(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one unit of a currency is worth from a day on (`2026-11-01`)."""

    day: str
    pico_usd: int

    def __str__(self) -> str:
        """`$1.08`."""
        return f"${units_text(self.dollars)}"

    @property
    def dollars(self) -> Decimal:
        """Dollars a unit."""
        return Decimal(self.pico_usd) / PICO_PER_USD

    def nano_usd(self, nano_units: int) -> int:
        """An amount of the currency in dollars, rounded down; at most what the ledger can count."""
        return min(nano_units * self.pico_usd // PICO_PER_USD, NANO_USD_MAX)

    def units(self, nano_usd: int) -> Decimal:
        """An amount of dollars in the currency, for people to read: to six decimals."""
        return round(Decimal(nano_usd) * PICO_PER_USD / self.pico_usd / NANO_PER_USD, _DECIMALS_SHOWN)


class Currency(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A currency (`EUR`) and its rates, the oldest first."""

    code: str
    rates: tuple[ExchangeRate, ...]

    def on(self, day: str) -> ExchangeRate | None:
        """The newest rate that is dated on a day or before it."""
        found = bisect_right(self.rates, day, key=lambda rate: rate.day)
        return self.rates[found - 1] if found else None

    def at(self, now_ns: int, zone: str) -> ExchangeRate | None:
        """The rate of the day that it is somewhere at an instant."""
        return self.on(day_of(now_ns, zone))

    def rate_text(self, rate: ExchangeRate) -> str:
        """A rate and its date: `$1.08 a EUR of 2026-11-01`."""
        return f"{rate} a {self.code} of {rate.day}"

    def text(self, amount_nano_usd: int, rate: ExchangeRate) -> str:
        """An amount in the currency and in dollars: `12.50 EUR ($13.50)`."""
        return f"{units_text(rate.units(amount_nano_usd))} {self.code} ({usd_text(amount_nano_usd)})"


def day_of(now_ns: int, zone: str) -> str:
    """The day that it is somewhere at an instant."""
    return datetime.fromtimestamp(now_ns // _NANOS, tz=ZoneInfo(zone)).date().isoformat()


def units_text(units: Decimal) -> str:
    """An amount of a currency with two decimals, or as many as it has."""
    whole, _, decimals = f"{units:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
