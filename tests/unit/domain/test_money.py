from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import MoneyError
from aegis_gateway.domain.money import (
    NANO_PER_USD,
    NANO_USD_MAX,
    UnitPrice,
    nano_usd,
    scaled_integer,
    usd_decimal_text,
    usd_rounded_up,
    usd_text,
)

AMOUNTS = st.integers(-NANO_USD_MAX, NANO_USD_MAX)


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        ("0", 0),
        ("20.00", 20 * NANO_PER_USD),
        ("0.000000001", 1),
        ("-0.5", -500_000_000),
        (7, 7 * NANO_PER_USD),
        (Decimal("1e3"), 1000 * NANO_PER_USD),
        ("9223372036.854775807", NANO_USD_MAX),
    ],
)
def test_dollars_become_nano_dollars(dollars: Decimal | str | int, expected: int) -> None:
    """Exactly, up to the 64th bit."""
    assert expected == nano_usd(dollars)


@pytest.mark.parametrize(
    ("dollars", "message"),
    [
        ("twenty", "`twenty` is not a number; write it as in 20.00"),
        ("", "`` is not a number; write it as in 20.00"),
        ("NaN", "`NaN` is not a finite number; write it as in 20.00"),
        ("sNaN", "`sNaN` is not a finite number; write it as in 20.00"),
        ("Infinity", "`Infinity` is not a finite number; write it as in 20.00"),
        ("0.0000000001", "`0.0000000001` is finer than 1/1000000000; round it first"),
        ("9223372036.854775808", "`9223372036.854775808` is too large; the most is 9223372036"),
        ("1e400", "`1e400` is too large; the most is 9223372036"),
        ("1e-400", "`1e-400` is finer than 1/1000000000; round it first"),
        ("1e999999", "`1e999999` is too large; the most is 9223372036"),
    ],
)
def test_what_is_no_money_is_refused(dollars: str, message: str) -> None:
    """Nothing is rounded on the way in, and nothing huge is computed with."""
    with pytest.raises(MoneyError) as caught:
        nano_usd(dollars)
    assert message == str(caught.value)


@given(AMOUNTS)
def test_decimal_text_round_trips(amount: int) -> None:
    """What is written is read as the same amount."""
    assert amount == nano_usd(usd_decimal_text(amount))


@given(AMOUNTS, st.integers(0, 9))
def test_text_round_trips(amount: int, decimals: int) -> None:
    """People's form loses nothing either, however few decimals it needs."""
    text = usd_text(amount, at_least=decimals)
    assert amount == nano_usd(text.replace("$", "").replace(",", ""))
    assert decimals <= len(text.partition(".")[2])


@given(AMOUNTS, st.sampled_from([1, 10, 100, 1000, NANO_PER_USD]))
def test_scaled_integers_round_trip(amount: int, scale: int) -> None:
    """Any quantity's smallest units are read back from its decimal form."""
    whole, rest = divmod(abs(amount), scale)
    digits = len(str(scale)) - 1
    text = f"{'-' if amount < 0 else ''}{whole}" + (f".{rest:0{digits}d}" if digits else "")
    assert amount == scaled_integer(text, scale)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "$0.00"),
        (41_100_000_000, "$41.10"),
        (128_000, "$0.000128"),
        (-500_000_000, "-$0.50"),
        (1_234_567_890_000_000_000, "$1,234,567,890.00"),
        (1, "$0.000000001"),
    ],
)
def test_people_read_dollars(amount: int, expected: str) -> None:
    """At least cents, and every nano-dollar that is there."""
    assert expected == usd_text(amount)


@pytest.mark.parametrize(
    ("amount", "expected"), [(0, "0.0000"), (1, "0.0001"), (200_000, "0.0002"), (200_001, "0.0003")]
)
def test_policies_see_amounts_rounded_up(amount: int, expected: str) -> None:
    """Four decimals, never less than it costs."""
    assert expected == str(usd_rounded_up(amount, 4))


@given(st.integers(0, NANO_USD_MAX), st.integers(0, 9))
def test_rounding_up_is_never_below_nor_a_step_above(amount: int, decimals: int) -> None:
    """The rounded amount bounds the real one within one step."""
    rounded = Fraction(usd_rounded_up(amount, decimals)) * NANO_PER_USD
    assert 0 <= rounded - amount < Fraction(NANO_PER_USD, 10**decimals)


@pytest.mark.parametrize(
    ("dollars", "per", "expected"),
    [
        ("0.15", 1_000_000, UnitPrice(nano_usd=150_000_000, per=1_000_000)),
        ("0.0001", 1, UnitPrice(nano_usd=100_000)),
        ("0", 1, UnitPrice(nano_usd=0)),
        ("0.00000000015", 1, UnitPrice(nano_usd=15, per=100)),
        (
            "0.18000000000000002",
            1_000_000,
            UnitPrice(nano_usd=18_000_000_000_000_002, per=100_000_000_000_000),
        ),
    ],
)
def test_unit_prices_are_exact(dollars: str, per: int, expected: UnitPrice) -> None:
    """Decimals beyond the nano-dollar move into the number of units."""
    assert expected == UnitPrice.of(dollars, per=per)


@pytest.mark.parametrize(
    "dollars",
    ["x", "NaN", "Infinity", "-1", "1e400", "1e-400", "9223372037", "0.1234567890123456789012345678901"],
)
def test_what_is_no_price_is_refused(dollars: str) -> None:
    """Whatever is wrong with it, a price is refused in one way, and never rounded."""
    with pytest.raises(MoneyError):
        UnitPrice.of(dollars)


@given(st.integers(0, 10**15), st.integers(0, 16), st.sampled_from([1, 1000, 1_000_000]))
def test_unit_prices_mean_what_was_written(digits: int, decimals: int, per: int) -> None:
    """Dollars per units, as a fraction, are the same before and after; or there is no such price."""
    dollars = Decimal(digits).scaleb(-decimals)
    try:
        price = UnitPrice.of(dollars, per=per)
    except MoneyError:
        assert Fraction(dollars) * NANO_PER_USD > 2**31
    else:
        assert Fraction(dollars) / per == Fraction(price.nano_usd, price.per) / NANO_PER_USD
        assert max(price.nano_usd, price.per) <= NANO_USD_MAX


@given(st.integers(0, 10**12), st.integers(1, 10**9), st.integers(0, 10**9))
def test_amounts_are_rounded_up_once(nanos: int, per: int, units: int) -> None:
    """The one rounding rule: never below the exact amount, never a nano-dollar above."""
    amount = UnitPrice(nano_usd=nanos, per=per).amount(units)
    assert 0 <= amount - Fraction(units * nanos, per) < 1


@given(st.integers(1, 10**12), st.integers(1, 10**9), st.integers(0, 10**12))
def test_units_within_an_amount_are_the_most_that_fit(nanos: int, per: int, amount: int) -> None:
    """So many units cost no more than the amount, and one more would."""
    price = UnitPrice(nano_usd=nanos, per=per)
    units = price.units_within(amount)
    assert units is not None
    assert price.amount(units) <= amount < price.amount(units + 1)


def test_any_number_of_free_units_fits() -> None:
    """A price of nothing bounds nothing; an overdrawn amount bears no unit."""
    assert UnitPrice(nano_usd=0).units_within(5) is None
    assert 0 == UnitPrice(nano_usd=1).units_within(-5)
