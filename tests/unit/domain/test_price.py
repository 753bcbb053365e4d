from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import (
    CALL_KINDS,
    FALLBACKS,
    INPUT_KINDS,
    KINDS,
    OUTPUT_KINDS,
    Kind,
    ModelPrice,
    Tier,
    UnitPrices,
    Usage,
    model_charges,
    price_of,
)

PRICES = st.builds(UnitPrice, nano_usd=st.integers(0, 10**11), per=st.sampled_from([1, 1000, 1_000_000]))


@st.composite
def unit_prices(draw: st.DrawFn) -> UnitPrices:
    """Prices of input and output, and of some other kinds."""
    others = draw(st.dictionaries(st.sampled_from(KINDS), PRICES))
    return {**others, "input": draw(PRICES), "output": draw(PRICES)}


@st.composite
def model_prices(draw: st.DrawFn) -> ModelPrice:
    """Prices with up to three tiers, each dearer or cheaper than the one before."""
    starts = [0, *draw(st.lists(st.integers(1, 1_000_000), max_size=2, unique=True).map(sorted))]
    tiers = tuple(Tier(above_input_tokens=start, prices=draw(unit_prices())) for start in starts)
    return ModelPrice(tiers=tiers, source="test", version="1")


def usages(kinds: Iterable[Kind] = KINDS) -> st.SearchStrategy[Usage]:
    """Usages of some kinds."""
    units = st.dictionaries(st.sampled_from(tuple(kinds)), st.integers(0, 1_000_000))
    return units.map(lambda counts: Usage(units=counts))


@given(model_prices(), usages((*INPUT_KINDS, *OUTPUT_KINDS)), st.integers(0, 1_000_000))
def test_the_dearest_prices_bound_every_bill(price: ModelPrice, usage: Usage, more: int) -> None:
    """Whatever the tokens are and whichever tier they fall into, the bound holds to a nano-dollar a line.

    Each line is rounded up on its own, where the bound is one line of input and one of output.
    """
    lines = model_charges(price, usage)
    if lines is None:
        return
    most = usage.input_tokens + more
    made = usage.tokens - usage.input_tokens
    into, out = price.dearest(most, INPUT_KINDS), price.dearest(most, OUTPUT_KINDS)
    assert into is not None
    assert out is not None
    bound = into.amount(most) + out.amount(made)
    assert sum(line.nano_usd for line in lines) <= bound + max(0, len(lines) - 1)


@given(model_prices(), usages())
def test_lines_add_up_to_the_usage(price: ModelPrice, usage: Usage) -> None:
    """Every unit is on exactly one line, which says whence its price is; or there is no bill at all."""
    lines = model_charges(price, usage)
    if lines is None:
        prices = price.at(usage.input_tokens)
        assert any(number and price_of(prices, kind) is None for kind, number in usage.units.items())
        return
    assert {kind: number for kind, number in usage.units.items() if number} == {
        line.kind: line.quantity for line in lines
    }
    assert {("test", "1")} >= {(line.price_source, line.price_version) for line in lines}
    assert {"call"} >= {line.unit for line in lines if line.kind in CALL_KINDS}


def test_a_kind_without_a_price_of_its_own() -> None:
    """It costs what the kind costs that it is a part of; an hour in the cache and calls are part of none."""
    prices: UnitPrices = {"input": UnitPrice(nano_usd=2), "output": UnitPrice(nano_usd=8)}
    found = {kind: price_of(prices, kind) for kind in KINDS}
    assert {"cache_write_1h", *CALL_KINDS} == {kind for kind, price in found.items() if price is None}
    assert all(UnitPrice(nano_usd=8) == found[kind] for kind in OUTPUT_KINDS)
    prices["cache_read"] = UnitPrice(nano_usd=1)
    assert UnitPrice(nano_usd=1) == price_of(prices, "cache_read_audio")
    assert set(KINDS) >= {*FALLBACKS, *(kind for kinds in FALLBACKS.values() for kind in kinds)}


@pytest.mark.parametrize("kind", ["cache_write_1h", *CALL_KINDS])
def test_what_has_no_price_has_no_bill(kind: Kind) -> None:
    """It isn't $0: there is no bill, unless nothing of it was used."""
    tier = Tier(above_input_tokens=0, prices={"input": UnitPrice(nano_usd=2)})
    price = ModelPrice(tiers=(tier,), source="test", version="1")
    assert None is model_charges(price, Usage(units={"input": 1, kind: 1}))
    assert model_charges(price, Usage(units={"input": 1, kind: 0}))


def test_a_tier_begins_above_its_number() -> None:
    """At the number the lower tier holds, one token above it the higher, for all tokens, cached ones included."""
    price = ModelPrice(
        tiers=tuple(
            Tier(
                above_input_tokens=start,
                prices={"input": UnitPrice(nano_usd=cost), "output": UnitPrice(nano_usd=0)},
            )
            for start, cost in ((0, 1), (100, 2))
        ),
        source="test",
        version="1",
    )
    bills = [
        sum(
            line.nano_usd
            for line in model_charges(price, Usage(units={"input": fresh, "cache_read": 60})) or ()
        )
        for fresh in (40, 41)
    ]
    assert [100, 202] == bills
