from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import ModelPrice, Tier, ToolPrice
from aegis_gateway.domain.quote import (
    USD,
    HostedUse,
    ModelShape,
    Quote,
    capped,
    quote_model,
    quote_operation,
)
from aegis_gateway.domain.quote_lines import model_lines, operation_lines
from aegis_gateway.domain.registry import HostedTool, Model, Operation

prices = st.builds(
    UnitPrice, nano_usd=st.integers(0, 10**9), per=st.sampled_from([1, 3, 1_000, 1_000_000, 10_000_000])
)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A model with two tiers, a cache, and a web search."""
    tiers = tuple(
        Tier(
            above_input_tokens=above,
            prices={
                "input": draw(prices),
                "output": draw(prices),
                "cache_write": draw(prices),
                "web_search": draw(prices),
            },
        )
        for above in (0, 1_000)
    )
    return Model(
        id="m",
        connector="c",
        upstream="m",
        price=ModelPrice(tiers=tiers, source="contract", version="v1"),
        max_input_tokens=draw(st.none() | st.integers(1, 10**6)),
        hosted={"web_search": HostedTool(calls_max=draw(st.none() | st.integers(0, 9)))},
    )


shapes = st.builds(
    ModelShape,
    input_bytes=st.integers(1, 10**6),
    output_tokens=st.none() | st.integers(1, 10**5),
    choices=st.integers(1, 5),
    has_output=st.booleans(),
    unbounded_input_by=st.none() | st.just("image_url"),
    hosted=st.sampled_from([(), (HostedUse(kind="web_search", field="tools", calls_max=4),)]),
)


@given(models(), shapes, st.none() | st.integers(1, 10**5))
def test_lines_of_a_model_add_up(model: Model, shape: ModelShape, cap: int | None) -> None:
    """Both to the quote, whatever was capped; rounding alone adds a few nano-dollars, and where there is no maximum
    there are no lines of it."""
    quote = quote_model(model, shape)
    assert isinstance(quote, Quote)
    if cap is not None:
        quote = capped(quote, cap) or quote
    expected, maximum = model_lines(model, shape, quote)
    assert quote.expected[USD] == sum(line.nano_usd for line in expected)
    assert quote.maximum.get(USD, 0) == sum(line.nano_usd for line in maximum)
    assert all(0 < line.nano_usd < 16 for line in maximum if line.kind == "rounding")
    assert all(line.nano_usd < 0 for line in expected if line.kind == "cap")


numbers = st.decimals(0, 10**6, places=3)


@given(
    st.builds(
        ToolPrice,
        per_call_nano_usd=st.integers(0, 10**9),
        per_unit=st.none() | prices,
        units_from=st.sampled_from([("body", "n"), ("response", "n")]),
        units_max=st.none() | st.integers(0, 1_000),
        amount_from=st.sampled_from([(), ("body", "n"), ("response", "n")]),
        amount_max_nano_usd=st.none() | st.integers(0, 10**12),
    ),
    numbers,
)
def test_lines_of_an_operation_add_up(price: ToolPrice, number: Decimal) -> None:
    """To what is known of its price before it is made."""
    operation = Operation(id="o", method="POST", path="/", price=price)
    quote = quote_operation(operation, lambda path: number)
    expected, maximum = operation_lines(operation, lambda path: number, quote)
    assert quote.expected[USD] == sum(line.nano_usd for line in expected)
    assert quote.maximum.get(USD, 0) == sum(line.nano_usd for line in maximum)
    assert not [line for line in (*expected, *maximum) if line.kind in ("cap", "rounding")]
