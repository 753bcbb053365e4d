from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import ModelPrice, Tier, TokenPrices, Usage, model_charges

PRICES = st.builds(UnitPrice, nano_usd=st.integers(0, 10**11), per=st.sampled_from([1, 1000, 1_000_000]))
TOKEN_PRICES = st.builds(
    TokenPrices, input=PRICES, output=PRICES, cache_read=st.none() | PRICES, cache_write=st.none() | PRICES
)


@st.composite
def model_prices(draw: st.DrawFn) -> ModelPrice:
    """Prices with up to three tiers, each dearer or cheaper than the one before."""
    starts = [0, *draw(st.lists(st.integers(1, 1_000_000), max_size=2, unique=True).map(sorted))]
    tiers = tuple(Tier(above_input_tokens=start, prices=draw(TOKEN_PRICES)) for start in starts)
    return ModelPrice(tiers=tiers, source="test", version="1")


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usages whose cached tokens are part of the input."""
    total = draw(st.integers(0, 2_000_000))
    cache_read = draw(st.integers(0, total))
    return Usage(
        input=total,
        output=draw(st.integers(0, 1_000_000)),
        cache_read=cache_read,
        cache_write=draw(st.integers(0, total - cache_read)),
    )


@given(model_prices(), usages(), st.integers(0, 1_000_000))
def test_the_dearest_prices_bound_every_bill(price: ModelPrice, usage: Usage, more: int) -> None:
    """However much of the input is cached, and whichever tier it falls into, the bound holds to three nano-dollars.

    Each of up to three lines of input is rounded up on its own, where the bound is one line.
    """
    dearest = price.dearest(usage.input + more)
    bound = dearest.input.amount(usage.input + more) + dearest.output.amount(usage.output)
    lines = model_charges(price, usage)
    assert sum(line.nano_usd for line in lines) <= bound + max(
        0, sum(line.kind != "output" for line in lines) - 1
    )


@given(model_prices(), usages())
def test_lines_add_up_to_the_usage(price: ModelPrice, usage: Usage) -> None:
    """Every token is on exactly one line."""
    lines = model_charges(price, usage)
    assert usage.input == sum(line.quantity for line in lines if line.kind != "output")
    assert usage.output == sum(line.quantity for line in lines if line.kind == "output")


@given(model_prices(), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_no_usage_is_a_credit(price: ModelPrice, total: int, cache_read: int, cache_write: int) -> None:
    """A provider that counts cached tokens beside the input charges for them, and is never charged."""
    usage = Usage(input=total, output=0, cache_read=cache_read, cache_write=cache_write)
    for line in model_charges(price, usage):
        assert line.quantity > 0
        assert line.nano_usd >= 0


def test_a_tier_begins_above_its_number() -> None:
    """At the number the lower tier holds, one token above it the higher, for all tokens."""
    price = ModelPrice(
        tiers=tuple(
            Tier(
                above_input_tokens=start,
                prices=TokenPrices(input=UnitPrice(nano_usd=cost), output=UnitPrice(nano_usd=0)),
            )
            for start, cost in ((0, 1), (100, 2))
        ),
        source="test",
        version="1",
    )
    bills = [
        sum(line.nano_usd for line in model_charges(price, Usage(input=tokens, output=0)))
        for tokens in (100, 101)
    ]
    assert [100, 202] == bills
