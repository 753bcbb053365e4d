"""What could have cost less is the bill, worked out otherwise: by hand, for whatever was called."""

from __future__ import annotations

from collections import Counter
from typing import cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.cheaper import Candidate, Traffic, cost_at, would_have_cost
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import Kind, ModelPrice, Tier, Usage, model_charges
from aegis_gateway.domain.repeats import SettledRequest, repeated
from aegis_gateway.domain.reuse import REUSE_NS

HOUR_NS = REUSE_NS // 24
KINDS: tuple[Kind, ...] = ("input", "cache_read", "output", "web_search", "cache_write_1h")

unit_prices = st.builds(UnitPrice, nano_usd=st.integers(0, 10_000), per=st.sampled_from([1, 1, 10, 1_000]))
price_lists = st.dictionaries(st.sampled_from(KINDS), unit_prices)
usages = st.lists(st.dictionaries(st.sampled_from(KINDS), st.integers(1, 500_000)), max_size=8)


@st.composite
def prices(draw: st.DrawFn) -> ModelPrice:
    """A model's price, of one tier or two."""
    tiers = [Tier(above_input_tokens=0, prices=draw(price_lists))]
    if draw(st.booleans()):
        tiers.append(Tier(above_input_tokens=200_000, prices=draw(price_lists)))
    return ModelPrice(tiers=tuple(tiers), source="contract", version="c1")


def traffic_of(used: list[dict[Kind, int]], nano_usd: int) -> Traffic:
    """What calls used, as it is read."""
    counted = Counter(tuple(sorted(cast("dict[str, int]", each).items())) for each in used)
    return Traffic(model="own", usages=counted, cost_nano_usd=nano_usd)


@given(prices(), usages)
def test_at_a_price_it_is_the_bill(price: ModelPrice, used: list[dict[Kind, int]]) -> None:
    """Call by call, each line rounded up, in its tier; nothing where one call has something without a price."""
    bills = [model_charges(price, Usage(units=each)) for each in used]
    known = [sum(line.nano_usd for line in bill) for bill in bills if bill is not None]
    expected = sum(known) if len(known) == len(bills) else None
    assert expected == cost_at(price, traffic_of(used, 0))


@given(st.dictionaries(st.sampled_from("abcd"), st.none() | prices()), usages, st.integers(0, 10**12))
def test_others_are_told_of_once_and_add_nothing(
    others: dict[str, ModelPrice | None], used: list[dict[Kind, int]], spent: int
) -> None:
    """Each other model once, the cheapest first, with the difference to what was spent; the unknown last, with why."""
    traffic = traffic_of(used, spent)
    candidates = [Candidate(model=name, price=price) for name, price in others.items()]
    found = would_have_cost(traffic, [*candidates, Candidate(model="own", price=None)])
    assert sorted(others) == sorted(each.model for each in found)
    assert spent == traffic.cost_nano_usd
    costs = [each.nano_usd for each in found if each.nano_usd is not None]
    assert sorted(costs) == costs
    for place, each in enumerate(found):
        if each.nano_usd is None:
            assert (None, True) == (each.less_nano_usd, bool(each.why))
            assert place >= len(costs)
        else:
            assert (spent - each.nano_usd, "") == (each.less_nano_usd, each.why)


def test_a_model_that_takes_less_is_left_out() -> None:
    """What went into one call has to fit; an unknown price never counts as nothing."""
    price = ModelPrice(
        tiers=(Tier(above_input_tokens=0, prices={"input": UnitPrice(nano_usd=1)}),), source="c", version="1"
    )
    traffic = traffic_of([{"input": 900}, {"input": 100}], 5_000)
    told = {
        each.model: (each.nano_usd, each.why)
        for each in would_have_cost(
            traffic,
            [
                Candidate(model="small", price=price, max_input_tokens=899),
                Candidate(model="fits", price=price, max_input_tokens=900),
                Candidate(model="unpriced", price=None),
            ],
        )
    }
    assert (1_000, "") == told["fits"]
    assert (None, "it takes 899 tokens, and 900 went into one call") == told["small"]
    assert (None, "its price isn’t known") == told["unpriced"]


@st.composite
def requests(draw: st.DrawFn) -> list[SettledRequest]:
    """Settled calls of two agents over three days, some of them the same."""
    found = []
    for place in range(draw(st.integers(0, 14))):
        decided_ns = draw(st.integers(0, 72)) * HOUR_NS
        found.append(
            SettledRequest(
                call=f"c{place}",
                agent=draw(st.sampled_from("ab")),
                connector="openai",
                tool="chat",
                model=draw(st.sampled_from("mn")),
                digest=draw(st.sampled_from("xy")),
                attempt=draw(st.integers(0, 1)),
                cost_nano_usd=draw(st.integers(0, 100)),
                decided_ns=decided_ns,
                settled_ns=decided_ns + draw(st.integers(0, 30)) * HOUR_NS,
            )
        )
    return found


@given(requests())
def test_repeats_are_those_that_had_their_answer(found: list[SettledRequest]) -> None:
    """Those that cost something and whose same request was settled within a day before, told apart by who tried."""

    def had_its_answer(each: SettledRequest) -> bool:
        return any(
            (other.agent, other.model, other.digest) == (each.agent, each.model, each.digest)
            and (other.settled_ns, other.decided_ns, other.call)
            < (each.settled_ns, each.decided_ns, each.call)
            and other.settled_ns >= each.settled_ns - REUSE_NS
            and other.cost_nano_usd
            for other in found
        )

    again = [each for each in found if each.cost_nano_usd and had_its_answer(each)]
    told = repeated(found)
    for is_attempt, calls, nano_usd in (
        (False, sum(each.repeats for each in told), sum(each.repeats_nano_usd for each in told)),
        (True, sum(each.attempts for each in told), sum(each.attempts_nano_usd for each in told)),
    ):
        expected = [each for each in again if bool(each.attempt) is is_attempt]
        assert (len(expected), sum(each.cost_nano_usd for each in expected)) == (calls, nano_usd)
    assert sorted((each.nano_usd for each in told), reverse=True) == [each.nano_usd for each in told]
    by_call = {each.call: each for each in found}
    for one in told:
        assert one.first not in one.last
        assert {(by_call[call].agent, by_call[call].model) for call in (one.first, *one.last)} == {
            (one.agent, one.model)
        }
    assert [msgspec.structs.astuple(each) for each in told] == [
        msgspec.structs.astuple(each) for each in repeated(list(reversed(found)))
    ]
