from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.currency import PICO_PER_USD, Currency, ExchangeRate, units_text
from aegis_gateway.domain.money import NANO_USD_MAX

EUR = Currency(
    code="EUR",
    rates=(
        ExchangeRate(day="2026-10-01", pico_usd=1_050_000_000_000),
        ExchangeRate(day="2026-11-01", pico_usd=1_080_000_000_000),
    ),
)
NOON_NS = 1_795_435_200 * 10**9  # 2026-11-23T12:00:00Z


@pytest.mark.parametrize(
    ("day", "dated"),
    [
        ("2026-09-30", None),
        ("2026-10-01", "2026-10-01"),
        ("2026-10-31", "2026-10-01"),
        ("2026-11-01", "2026-11-01"),
        ("2030-01-01", "2026-11-01"),
    ],
)
def test_the_newest_rate_of_a_day(day: str, dated: str | None) -> None:
    """It is dated on the day or before it; before the first there is none."""
    rate = EUR.on(day)
    assert dated == (rate.day if rate is not None else None)


def test_the_day_is_told_where_the_budget_is() -> None:
    """Noon in London is the next day on Kiritimati."""
    late = Currency(code="EUR", rates=(ExchangeRate(day="2026-11-24", pico_usd=1),))
    assert late.at(NOON_NS, "UTC") is None
    assert late.rates[0] == late.at(NOON_NS, "Pacific/Kiritimati")


def test_amounts_in_words() -> None:
    """In the currency and in dollars, and a rate with its date."""
    assert "12.50 EUR ($13.50)" == EUR.text(13_500_000_000, EUR.rates[1])
    assert "$1.08 a EUR of 2026-11-01" == EUR.rate_text(EUR.rates[1])
    assert ["1,000.00", "0.333333", "0.00"] == [
        units_text(Decimal(text)) for text in ("1000", "0.333333", "0")
    ]


@given(st.integers(0, NANO_USD_MAX), st.integers(1, 10**16))
def test_dollars_are_rounded_down(nano_units: int, pico_usd: int) -> None:
    """A limit is never more than its rate makes it, nor less by a nano-dollar; what can't be counted is the most."""
    nano_usd = ExchangeRate(day="2026-11-01", pico_usd=pico_usd).nano_usd(nano_units)
    exact = nano_units * pico_usd
    if nano_usd == NANO_USD_MAX:
        assert exact >= NANO_USD_MAX * PICO_PER_USD
    else:
        assert nano_usd * PICO_PER_USD <= exact < (nano_usd + 1) * PICO_PER_USD
