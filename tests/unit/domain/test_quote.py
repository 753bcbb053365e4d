from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import (
    CALL_KINDS,
    KINDS,
    OUTPUT_KINDS,
    TEXT_INPUT_KINDS,
    Kind,
    ModelPrice,
    Tier,
    ToolPrice,
    UnitPrices,
    Usage,
    model_charges,
)
from aegis_gateway.domain.quote import (
    CALLS,
    TOKENS,
    USD,
    HostedUse,
    ModelShape,
    Quote,
    Read,
    counted,
    operation_charges,
    quote_model,
    quote_operation,
)
from aegis_gateway.domain.registry import Count, HostedTool, Model, Operation

NANO = 10**9


def flat_price(input_: int, output: int, others: dict[Kind, int] | None = None) -> ModelPrice:
    """One tier, in nano-dollars per token."""
    stated: dict[Kind, int] = {"input": input_, "output": output, **(others or {})}
    prices: UnitPrices = {kind: UnitPrice(nano_usd=price) for kind, price in stated.items()}
    return ModelPrice(tiers=(Tier(above_input_tokens=0, prices=prices),), source="contract", version="v1")


def model(price: ModelPrice | None, hosted: dict[Kind, HostedTool] | None = None, **settings: int) -> Model:
    """A model with settings."""
    return Model(id="m", connector="c", upstream="m", price=price, hosted=hosted or {}, **settings)


def quoted(model_: Model, shape: ModelShape) -> Quote:
    """A quote that there is."""
    quote = quote_model(model_, shape)
    assert isinstance(quote, Quote)
    return quote


def reading(**numbers: str) -> Read:
    """Reads numbers by the last part of their path."""
    return lambda path: Decimal(numbers[path[-1]]) if path[-1] in numbers else None


def operation(price: ToolPrice | None = None, *counts: Count) -> Operation:
    """An operation with a price and counts."""
    return Operation(id="pay", method="POST", path="/pay", price=price or ToolPrice(), counts=counts)


@pytest.mark.parametrize(
    ("settings", "shape", "tokens"),
    [
        ({}, ModelShape(input_bytes=10), 1024),
        ({"default_output_tokens": 50}, ModelShape(input_bytes=10), 50),
        ({"default_output_tokens": 50}, ModelShape(input_bytes=10, output_tokens=70), 70),
        ({"max_output_tokens": 60}, ModelShape(input_bytes=10, output_tokens=70), 60),
        ({"max_output_tokens": 60}, ModelShape(input_bytes=10), 60),
        ({}, ModelShape(input_bytes=10, output_tokens=5, choices=3), 5),
        ({}, ModelShape(input_bytes=0, output_tokens=1), 1),
    ],
)
def test_a_model_call(settings: dict[str, int], shape: ModelShape, tokens: int) -> None:
    """Its maximum is a token for each byte of input and the output limit of each choice."""
    quote = quoted(model(flat_price(2, 10), None, **settings), shape)
    output = shape.choices * tokens
    assert quote.output is not None
    assert tokens == quote.output.tokens
    assert {
        USD: 2 * shape.input_bytes + 10 * output, TOKENS: shape.input_bytes + output, CALLS: 1,
    } == quote.maximum  # fmt: skip
    assert quote.expected[USD] <= quote.maximum[USD]
    assert 1 == quote.expected[CALLS]


def test_a_model_without_a_price() -> None:
    """There is no quote, and the reason says that an unknown price is never $0."""
    reason = quote_model(model(None), ModelShape(input_bytes=1))
    assert isinstance(reason, Reason)
    assert "unknown_price" == reason.code
    assert "never $0" in reason.message


def test_what_no_count_of_bytes_bounds() -> None:
    """A call with an image has no maximum of money or tokens, and says why; a stated bound of input gives it one."""
    shape = ModelShape(input_bytes=10, output_tokens=5, unbounded_input_by="messages[0].content[1]")
    quote = quoted(model(flat_price(2, 10)), shape)
    assert {CALLS: 1} == quote.maximum
    assert None is quote.output
    assert {USD, TOKENS} == quote.unbounded.keys()
    assert "`messages[0].content[1]`" in quote.unbounded[USD]
    bounded = quoted(model(flat_price(2, 10), max_input_tokens=1_000), shape)
    assert 2 * 1_000 + 10 * 5 == bounded.maximum[USD]
    assert {} == bounded.unbounded


def test_a_call_beyond_what_can_be_counted() -> None:
    """A maximum beyond 64 bits is the caller's fault, with the field that makes it so."""
    with pytest.raises(CallError, match="more than can be counted") as caught:
        quote_model(model(flat_price(1, 10**12)), ModelShape(input_bytes=1, output_tokens=10_000_000))
    assert "max_tokens" == caught.value.field


def test_what_nothing_states_the_price_of() -> None:
    """A bound of input is none for a field that changes prices: it stays unbounded, and is named; tokens are not."""
    shape = ModelShape(input_bytes=10, output_tokens=5, unpriceable="service_tier")
    quote = quoted(model(flat_price(2, 10), max_input_tokens=1_000), shape)
    assert {USD} == quote.unbounded.keys()
    assert "`service_tier`" in quote.unbounded[USD]
    assert 10 + 5 == quote.maximum[TOKENS]


def test_what_has_no_output() -> None:
    """Embeddings cost their input, and have no output limit to lower."""
    quote = quoted(model(flat_price(2, 10)), ModelShape(input_bytes=10, has_output=False))
    assert {USD: 20, TOKENS: 10, CALLS: 1} == quote.maximum
    assert None is quote.output


def test_a_model_without_a_price_for_its_output() -> None:
    """What only embeds has none, and cannot be asked to generate."""
    tier = Tier(above_input_tokens=0, prices={"input": UnitPrice(nano_usd=2)})
    price = ModelPrice(tiers=(tier,), source="contract", version="v1")
    assert 20 == quoted(model(price), ModelShape(input_bytes=10, has_output=False)).maximum[USD]
    reason = quote_model(model(price), ModelShape(input_bytes=10))
    assert isinstance(reason, Reason)
    assert "unknown_price" == reason.code


@pytest.mark.parametrize(
    ("asked_max", "stated_max", "expected"), [(3, None, 3), (None, 4, 4), (3, 4, 3), (5, 4, 4)]
)
def test_tools_that_the_provider_runs(asked_max: int | None, stated_max: int | None, expected: int) -> None:
    """The maximum has as many calls as request and configuration allow, and all the input that is stated."""
    shape = ModelShape(
        input_bytes=10,
        output_tokens=5,
        hosted=(HostedUse(kind="web_search", field="tools[0]", calls_max=asked_max),),
    )
    hosted: dict[Kind, HostedTool] = {"web_search": HostedTool(calls_max=stated_max)}
    price = flat_price(2, 10, {"web_search": 1_000})
    quote = quoted(model(price, hosted, max_input_tokens=500), shape)
    assert 2 * 500 + 10 * 5 + 1_000 * expected == quote.maximum[USD]
    assert quote.expected[USD] >= 1_000


def test_tools_that_are_not_bounded() -> None:
    """Neither what a tool finds nor how often it is called is bounded by anything but what is stated."""
    shape = ModelShape(
        input_bytes=10, output_tokens=5, hosted=(HostedUse(kind="web_search", field="tools[0]"),)
    )
    hosted: dict[Kind, HostedTool] = {"web_search": HostedTool()}
    price = flat_price(2, 10, {"web_search": 1_000})
    unbounded = quoted(model(price, hosted, max_input_tokens=500), shape).unbounded
    assert {USD} == unbounded.keys()
    assert "`max_calls`" in unbounded[USD]
    hosted = {"web_search": HostedTool(calls_max=1)}
    unbounded = quoted(model(price, hosted), shape).unbounded
    assert {USD, TOKENS} == unbounded.keys()
    assert "`max_input_tokens`" in unbounded[USD]


@pytest.mark.parametrize(
    ("hosted", "others"),
    [({}, {"web_search": 5}), ({"web_search": HostedTool(calls_max=1)}, {})],
)
def test_a_tool_without_a_price(hosted: dict[Kind, HostedTool], others: dict[Kind, int]) -> None:
    """One that is not configured, or that nobody knows the price of, is refused and named."""
    shape = ModelShape(input_bytes=10, hosted=(HostedUse(kind="web_search", field="tools[7]"),))
    reason = quote_model(model(flat_price(2, 10, others), hosted, max_input_tokens=500), shape)
    assert isinstance(reason, Reason)
    assert "unknown_price" == reason.code
    assert "`tools[7]`" in reason.message


# Prices that are whole nano-dollars, as almost all are, and prices that are fractions of one.
WHOLE = st.integers(0, 5_000).map(lambda nano: UnitPrice(nano_usd=nano))
FRACTIONS = st.builds(UnitPrice, nano_usd=st.integers(0, 5_000), per=st.sampled_from([3, 1_000]))


@st.composite
def model_calls(draw: st.DrawFn, prices: st.SearchStrategy[UnitPrice]) -> tuple[Model, ModelShape, Usage]:
    """A model with up to three tiers, a request, and a usage within what the request bounds."""
    starts = [0, *sorted(draw(st.sets(st.integers(1, 200), max_size=2)))]
    kinds = [kind for kind in KINDS if kind not in ("input", "output", *CALL_KINDS)]
    tiers = tuple(
        Tier(
            above_input_tokens=start,
            prices={
                **draw(st.dictionaries(st.sampled_from(kinds), prices)),
                "input": draw(prices),
                "output": draw(prices),
                "web_search": draw(prices),
            },
        )
        for start in starts
    )
    price = ModelPrice(tiers=tiers, source="test", version="1")
    searches = draw(st.integers(0, 3))
    shape = ModelShape(
        input_bytes=draw(st.integers(0, 300)),
        output_tokens=draw(st.none() | st.integers(1, 200)),
        choices=draw(st.integers(1, 4)),
        unbounded_input_by=draw(st.none() | st.just("messages[0].content[0]")),
        input_kinds=draw(st.frozensets(st.sampled_from(("input_audio", "input_image")))),
        output_kinds=draw(st.frozensets(st.just("output_audio"))),
        hosted=(HostedUse(kind="web_search", field="tools[0]", calls_max=searches),) if searches else (),
    )
    asked = model(
        price,
        {"web_search": HostedTool()},
        default_output_tokens=draw(st.integers(1, 200)),
        max_output_tokens=draw(st.integers(1, 300)),
        max_input_tokens=draw(st.integers(300, 400)),
    )
    quote = quoted(asked, shape)
    assert quote.output is not None
    into: tuple[Kind, ...] = (*TEXT_INPUT_KINDS, *sorted(shape.input_kinds))
    if shape.unbounded_input_by or shape.hosted:
        into = tuple(kind for kind in KINDS if kind not in (*OUTPUT_KINDS, *CALL_KINDS))
    out: tuple[Kind, ...] = ("output", "reasoning", *sorted(shape.output_kinds))
    units = {
        **draw(split(quote.output.fixed_tokens, into)),
        **draw(split(shape.choices * quote.output.tokens, out)),
        "web_search": draw(st.integers(0, searches)),
    }
    return asked, shape, Usage(units=units)


@st.composite
def split(draw: st.DrawFn, most: int, kinds: tuple[Kind, ...]) -> dict[Kind, int]:
    """At most so many tokens, of some kinds."""
    left, units = most, {}
    for kind in draw(st.permutations(kinds)):
        units[kind] = draw(st.integers(0, left))
        left -= units[kind]
    return units


def billed(asked: Model, usage: Usage) -> int:
    """What a usage comes to; nothing where it has a kind that has no price, which is settled at the maximum."""
    assert asked.price is not None
    return sum(line.nano_usd for line in model_charges(asked.price, usage) or ())


@given(model_calls(WHOLE | FRACTIONS))
def test_no_usage_within_the_bounds_costs_more_than_the_maximum(
    call: tuple[Model, ModelShape, Usage],
) -> None:
    """Whatever the tokens are, whichever tier they fall into, however lines are rounded: the maximum holds."""
    asked, shape, usage = call
    quote = quoted(asked, shape)
    assert billed(asked, usage) <= quote.maximum[USD]
    assert usage.tokens <= quote.maximum[TOKENS]


@given(model_calls(WHOLE | FRACTIONS), st.integers(0, 2_000_000))
def test_the_output_that_an_amount_bears(call: tuple[Model, ModelShape, Usage], available: int) -> None:
    """The limit that fits into an amount does fit, and one token more does not."""
    asked, shape, _ = call
    output = quoted(asked, shape).output
    assert output is not None
    for quantity in (USD, TOKENS):
        tokens = output.tokens_within(quantity, available)
        assert tokens <= output.tokens
        if tokens >= 0:
            assert output.maximum(tokens)[quantity] <= available
        if tokens < output.tokens:
            assert output.maximum(max(tokens, -1) + 1)[quantity] > available


@pytest.mark.parametrize(
    ("price", "maximum"),
    [
        (ToolPrice(), 0),
        (ToolPrice(per_call_nano_usd=5), 5),
        (ToolPrice(per_unit=UnitPrice(nano_usd=3), units_from=("body", "n")), 21),
        (ToolPrice(per_unit=UnitPrice(nano_usd=3, per=2), units_from=("body", "n")), 11),
        (ToolPrice(per_unit=UnitPrice(nano_usd=3), units_from=("response", "n"), units_max=10), 30),
        (ToolPrice(amount_from=("body", "fee")), 1_250_000_000),
        (ToolPrice(amount_from=("response", "fee"), amount_max_nano_usd=9), 9),
        (
            ToolPrice(
                per_call_nano_usd=5,
                per_unit=UnitPrice(nano_usd=3),
                units_from=("body", "n"),
                amount_from=("body", "fee"),
            ),
            1_250_000_026,
        ),
    ],
)
def test_operations(price: ToolPrice, maximum: int) -> None:
    """A price is the sum of its parts: per call, per unit, and an amount that stands in a field."""
    quote = quote_operation(operation(price), reading(n="7", fee="1.25"))
    assert {USD: maximum, CALLS: 1} == quote.maximum
    assert maximum == quote.expected[USD]


@pytest.mark.parametrize(
    ("price", "bound"),
    [
        (ToolPrice(per_unit=UnitPrice(nano_usd=3), units_from=("response", "n")), "max_units"),
        (ToolPrice(amount_from=("response", "fee")), "max_amount"),
    ],
)
def test_operations_whose_price_only_the_answer_tells(price: ToolPrice, bound: str) -> None:
    """Without a stated maximum there is none, and the words say which setting would give one."""
    quote = quote_operation(operation(price), reading())
    assert {CALLS: 1} == quote.maximum
    assert f"state `{bound}`" in quote.unbounded[USD]


@pytest.mark.parametrize("written", ["-1", "-0.0001", "NaN", "Infinity", "1e400", "1e19"])
def test_numbers_that_cannot_be_charged_for(written: str) -> None:
    """A price's number below zero, without end or beyond all counting is refused by its path."""
    for price in (
        ToolPrice(per_unit=UnitPrice(nano_usd=3), units_from=("body", "n")),
        ToolPrice(amount_from=("body", "n")),
    ):
        with pytest.raises(CallError) as caught:
            quote_operation(operation(price), reading(n=written))
        assert "body.n" == caught.value.field


def test_a_number_that_is_missing() -> None:
    """A price that needs a number of the request refuses a request without it."""
    with pytest.raises(CallError, match=r"a number is needed at `body.n`"):
        quote_operation(operation(ToolPrice(amount_from=("body", "n"))), reading())


@pytest.mark.parametrize(
    ("written", "scale", "expected"),
    [
        ("4999.99", NANO, 4_999_990_000_000),
        ("0", NANO, 0),
        ("0.000000001", NANO, 1),
        ("7", 1, 7),
        ("0.5", 10, 5),
    ],
)
def test_counts(written: str, scale: int, expected: int) -> None:
    """A counted number is exact in the quantity's smallest unit."""
    count = Count(quantity="paid_out", source=("body", "n"), scale=scale)
    assert expected == counted(count, reading(n=written))
    quote = quote_operation(operation(None, count), reading(n=written))
    assert (expected, expected) == (quote.expected["paid_out"], quote.maximum["paid_out"])


@pytest.mark.parametrize(
    ("written", "scale"),
    [("0.0000000001", NANO), ("0.5", 1), ("-1", 1), ("1e30", 1), ("1e400", 1), ("NaN", 1), ("1e-400", NANO)],
)
def test_counts_that_are_none(written: str, scale: int) -> None:
    """What is finer than the unit, below zero or beyond 64 bits is refused by its path, not rounded."""
    count = Count(quantity="paid_out", source=("body", "n"), scale=scale)
    with pytest.raises(CallError) as caught:
        counted(count, reading(n=written))
    assert "body.n" == caught.value.field


def test_counts_that_only_the_answer_tells() -> None:
    """Such a quantity is held at its stated maximum; without one it has none, and says so."""
    stated = Count(quantity="rows", source=("response", "n"), scale=1, maximum=50)
    assert 50 == quote_operation(operation(None, stated), reading()).maximum["rows"]
    unstated = Count(quantity="rows", source=("response", "n"), scale=1)
    assert "state a `max`" in quote_operation(operation(None, unstated), reading()).unbounded["rows"]


@given(
    st.integers(0, 10**9),
    st.none() | WHOLE | FRACTIONS,
    st.booleans(),
    st.decimals(0, 1_000, places=3),
    st.decimals(0, 1_000, places=11),
)
def test_an_operation_costs_what_was_quoted(
    per_call: int, per_unit: UnitPrice | None, has_amount: bool, units: Decimal, amount: Decimal
) -> None:
    """Where the request tells everything, the bill is the maximum to the nano-dollar."""
    price = ToolPrice(
        per_call_nano_usd=per_call,
        per_unit=per_unit,
        units_from=("body", "units") if per_unit else (),
        amount_from=("body", "amount") if has_amount else (),
    )
    read = reading(units=str(units), amount=str(amount))
    lines = operation_charges(operation(price), read)
    assert quote_operation(operation(price), read).maximum[USD] == sum(line.nano_usd for line in lines)
