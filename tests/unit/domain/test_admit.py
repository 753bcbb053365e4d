from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.admit import BudgetClaim, Standings, admit
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.quote import CALLS, TOKENS, USD, OutputBound, Quote
from aegis_gateway.domain.rate import RateClaim, Turns
from aegis_gateway.domain.window import Window

NOW_NS = 1_000_000_000_000
SECOND_NS = 1_000_000_000
OPEN = Window(label="2026-11", starts_ns=0, ends_ns=2**62)
SHUT = Window(label="once", starts_ns=0, ends_ns=NOW_NS)


def budget(
    name: str = "month", limit: int = 1_000, quantity: str = USD, *, hard: bool = True, scale: int = 1
) -> BudgetClaim:
    """A budget as it applies to a call."""
    return BudgetClaim(
        budget=name,
        scope="",
        quantity=quantity,
        scale=scale,
        is_money=quantity in (USD, "paid_out"),
        limit=limit,
        hard=hard,
        period="monthly",
        zone="UTC",
        owner="ana@acme.example",
    )


def rate(name: str = "pace", limit: int = 2, burst: int = 2) -> RateClaim:
    """A rate limit of some calls in ten seconds."""
    return RateClaim(rate=name, scope="", limit=limit, period_ns=10 * SECOND_NS, burst=burst)


def flat(maximum: int = 100, expected: int = 40, **others: int) -> Quote:
    """A quote without an output limit."""
    return Quote(expected={USD: expected, CALLS: 1, **others}, maximum={USD: maximum, CALLS: 1, **others})


def spoken(tokens: int, *, least: int = 1, choices: int = 1, price: int = 2, fixed: int = 10) -> Quote:
    """A quote of a model call: `fixed` for its input, `price` for each token of each choice."""
    output = OutputBound(
        tokens=tokens,
        min_tokens=least,
        choices=choices,
        price=UnitPrice(nano_usd=price),
        fixed_nano_usd=fixed,
        fixed_tokens=5,
    )
    return Quote(
        expected={USD: 1, TOKENS: 1, CALLS: 1}, maximum={**output.maximum(tokens), CALLS: 1}, output=output
    )


def standings(
    budgets: tuple[BudgetClaim, ...],
    balances: dict[str, Standing] | None = None,
    window: Window = OPEN,
    next_ns: dict[tuple[str, str], int] | None = None,
) -> Standings:
    """What stands: balances by budget, in one window for all."""
    return Standings(
        windows=tuple(window for _ in budgets),
        balances={(name, "", window.label): balance for name, balance in (balances or {}).items()},
        arrivals={rate: Turns(at_ns) for rate, at_ns in (next_ns or {}).items()},
    )


@pytest.mark.parametrize(
    ("quote", "budgets", "balances", "amounts"),
    [
        (flat(), (), {}, []),
        (flat(), (budget(limit=100),), {}, [100]),
        (flat(), (budget(limit=300),), {"month": Standing(pending=150, posted=50)}, [100]),
        (flat(), (budget(limit=100, hard=False),), {}, [40]),
        (flat(), (budget("a"), budget("b"), budget("c", hard=False)), {}, [100, 100, 40]),
        (flat(), (budget(quantity=CALLS, limit=1),), {}, [1]),
        (flat(), (budget(quantity="paid_out", limit=1),), {}, [0]),
        (flat(paid_out=7), (budget(quantity="paid_out", limit=7),), {}, [7]),
        (flat(maximum=0, expected=0), (budget(limit=100),), {"month": Standing(posted=100)}, [0]),
    ],
)
def test_what_fits_is_reserved(
    quote: Quote, budgets: tuple[BudgetClaim, ...], balances: dict[str, Standing], amounts: list[int]
) -> None:
    """Hard budgets hold the maximum, soft ones the expected amount, and those that count something else nothing."""
    admission = admit(quote, (), budgets, standings(budgets, balances), NOW_NS)
    assert "allow" == admission.effect
    assert [(claim.budget, OPEN.label, amount) for claim, amount in zip(budgets, amounts, strict=True)] == [
        (leg.budget, leg.window, leg.amount) for leg in admission.legs
    ]


@pytest.mark.parametrize(
    ("quote", "claim", "balance", "message"),
    [
        (
            flat(maximum=2_000_000_000),
            budget(limit=20_000_000_000, scale=10**9),
            Standing(posted=18_000_000_001),
            "budget `month` has $1.999999999 of $20.00 left for 2026-11 and the call may need $2.00; "
            "ask its owner ana@acme.example",
        ),
        (flat(), budget(limit=100), Standing(posted=150), "has -$0.00000005 of $0.0000001 left"),
        (flat(), budget(limit=39, hard=False), Standing(), "may need $0.00000004"),
        (flat(rows=7), budget(quantity="rows", limit=5), Standing(), "has 5 rows of 5 rows left"),
        (
            flat(rows=75),
            budget(quantity="rows", limit=50, scale=10),
            Standing(),
            "has 5 rows of 5 rows left for 2026-11 and the call may need 7.5 rows",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    quote: Quote, claim: BudgetClaim, balance: Standing, message: str
) -> None:
    """A refusal names the budget, what is left, what is needed and whom to ask; it takes nothing."""
    admission = admit(quote, (), (claim,), standings((claim,), {claim.budget: balance}), NOW_NS)
    assert ("deny", (), {}) == (admission.effect, admission.legs, admission.arrivals)
    assert ["budget_exhausted"] == [reason.code for reason in admission.reasons]
    assert message in admission.reasons[0].message


def test_an_unbounded_call() -> None:
    """A hard budget refuses what has no maximum and says which field is to blame; a soft one takes the expected."""
    quote = Quote(
        expected={USD: 40}, maximum={}, unbounded={USD: "`messages[0].content[1]` has no upper bound"}
    )
    hard, soft = budget(), budget(hard=False)
    refused = admit(quote, (), (hard,), standings((hard,)), NOW_NS)
    assert ["unbounded_cost"] == [reason.code for reason in refused.reasons]
    assert "messages[0].content[1]" in refused.reasons[0].message
    assert [40] == [leg.amount for leg in admit(quote, (), (soft,), standings((soft,)), NOW_NS).legs]
    others = budget(quantity="rows")
    assert "allow" == admit(quote, (), (others,), standings((others,)), NOW_NS).effect


def test_a_window_that_is_over() -> None:
    """A one-off budget refuses outside of its days, from the first instant after them."""
    claim = budget()
    admission = admit(flat(), (), (claim,), standings((claim,), window=SHUT), NOW_NS)
    assert "is not open now" in admission.reasons[0].message
    assert "allow" == admit(flat(), (), (claim,), standings((claim,), window=SHUT), NOW_NS - 1).effect


def test_rates_come_before_budgets() -> None:
    """Where both would refuse it is the rate that says so, with the time after which it would not."""
    claim, pace = budget(limit=1), rate()
    full = {("pace", ""): NOW_NS + 10 * SECOND_NS}
    admission = admit(flat(), (pace,), (claim,), standings((claim,), next_ns=full), NOW_NS)
    assert ("throttle", (), {}) == (admission.effect, admission.legs, admission.arrivals)
    assert [("rate_limited", "pace", 5 * SECOND_NS)] == [
        (reason.code, reason.subject, reason.wait_ns) for reason in admission.reasons
    ]


def test_a_call_that_a_budget_refuses_takes_nothing_from_a_rate() -> None:
    """Turns are taken only by calls that are let through."""
    claim, pace = budget(limit=1), rate()
    assert {} == admit(flat(), (pace,), (claim,), standings((claim,)), NOW_NS).arrivals
    taken = admit(flat(), (pace,), (), standings(()), NOW_NS)
    assert {("pace", ""): (NOW_NS, NOW_NS + 5 * SECOND_NS)} == taken.turns
    assert {("pace", ""): Turns(NOW_NS + 5 * SECOND_NS)} == taken.arrivals


@pytest.mark.parametrize(
    ("limit", "quantity", "choices", "tokens"),
    [
        (1_000, USD, 1, 20),
        (50, USD, 1, 20),
        (49, USD, 1, 19),
        (48, USD, 1, 19),
        (14, USD, 1, 2),
        (13, USD, 1, None),
        (34, USD, 3, 4),
        (39, USD, 3, 4),
        (40, USD, 3, 5),
        (25, TOKENS, 1, 20),
        (24, TOKENS, 1, 19),
        (17, TOKENS, 3, 4),
        (6, TOKENS, 1, None),
        (1, CALLS, 1, 20),
        (0, CALLS, 1, None),
    ],
)
def test_an_output_limit_is_lowered(limit: int, quantity: str, choices: int, tokens: int | None) -> None:
    """Twenty tokens are asked for, two are the least: what fits is taken, below the least the call is refused."""
    claim = budget(limit=limit, quantity=quantity)
    admission = admit(spoken(20, least=2, choices=choices), (), (claim,), standings((claim,)), NOW_NS)
    assert ("deny" if tokens is None else "allow", tokens) == (admission.effect, admission.output_tokens)


QUANTITIES = [USD, USD, TOKENS, CALLS, "rows"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[Quote, tuple[BudgetClaim, ...], Standings]:
    """A quote, up to four budgets and what stands on them, so small that everything collides."""
    budgets = tuple(
        budget(
            f"b{number}",
            draw(st.integers(0, 90)),
            draw(st.sampled_from(QUANTITIES)),
            hard=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 4)))
    )
    balances = {
        claim.budget: Standing(pending=draw(st.integers(0, 9)), posted=draw(st.integers(0, 9)))
        for claim in budgets
    }
    if draw(st.booleans()):
        tokens = draw(st.integers(1, 20))
        quote = spoken(
            tokens,
            least=draw(st.integers(1, tokens)),
            choices=draw(st.integers(1, 3)),
            price=draw(st.integers(0, 3)),
            fixed=draw(st.integers(0, 20)),
        )
    else:
        maximum = draw(st.integers(0, 40))
        quote = flat(maximum, draw(st.integers(0, maximum)), rows=draw(st.integers(0, 30)))
    return quote, budgets, standings(budgets, balances)


def fits(quote: Quote, budgets: tuple[BudgetClaim, ...], stood: Standings, tokens: int) -> bool:
    """Whether a model call at an output limit fits into every budget, worked out the long way."""
    assert quote.output is not None
    maximum = {**quote.maximum, **quote.output.maximum(tokens)}
    for claim in budgets:
        balance = stood.balances[claim.budget, "", OPEN.label]
        expected = min(quote.expected.get(claim.quantity, 0), maximum.get(claim.quantity, 0))
        needed = maximum.get(claim.quantity, 0) if claim.hard else expected
        if needed > claim.limit - balance.posted - balance.pending:
            return False
    return True


@given(situations())
def test_no_hard_limit_is_passed(situation: tuple[Quote, tuple[BudgetClaim, ...], Standings]) -> None:
    """Whatever is let through, what is posted and pending on a hard budget stays within its limit."""
    quote, budgets, stood = situation
    admission = admit(quote, (), budgets, stood, NOW_NS)
    if admission.effect != "allow":
        assert () == admission.legs
        return
    for claim, leg in zip(budgets, admission.legs, strict=True):
        after = stood.balances[claim.budget, "", OPEN.label].reserve(leg.amount)
        assert after.posted + after.pending <= claim.limit
        if claim.hard:
            assert admission.maximum.get(claim.quantity, 0) == leg.amount


@given(situations())
def test_the_output_limit_is_the_largest_that_fits(
    situation: tuple[Quote, tuple[BudgetClaim, ...], Standings],
) -> None:
    """Of all limits from the model's least up to the one wanted, the highest that every budget bears is taken."""
    quote, budgets, stood = situation
    if quote.output is None:
        return
    limits = range(quote.output.min_tokens, quote.output.tokens + 1)
    fitting = [tokens for tokens in limits if fits(quote, budgets, stood, tokens)]
    admission = admit(quote, (), budgets, stood, NOW_NS)
    assert (fitting != []) == (admission.effect == "allow")
    if fitting:
        assert fitting[-1] == admission.output_tokens
        assert quote.output.maximum(fitting[-1])[USD] == admission.maximum[USD]


@given(
    st.lists(situations().map(lambda situation: situation[0]), min_size=1, max_size=12), st.integers(0, 60)
)
def test_many_calls_stay_within_one_limit(quotes: list[Quote], limit: int) -> None:
    """Calls admitted one after the other never come to more than the limit, and none that fits is refused."""
    claim = budget(limit=limit)
    balance = Standing()
    for quote in quotes:
        admission = admit(quote, (), (claim,), standings((claim,), {claim.budget: balance}), NOW_NS)
        if admission.effect == "allow":
            balance = balance.reserve(admission.legs[0].amount)
        else:
            least = quote.output.maximum(quote.output.min_tokens) if quote.output else quote.maximum
            assert least[USD] > balance.available(limit)
        assert balance.pending <= limit


def test_the_wait_is_long_enough_for_all_rates() -> None:
    """After waiting as long as a refusal says, no other rate refuses: the wait is the longest of all."""
    second, minute = (
        rate("second"),
        RateClaim(rate="minute", scope="", limit=1, period_ns=60 * SECOND_NS, burst=1),
    )
    full = {("second", ""): NOW_NS + 10 * SECOND_NS, ("minute", ""): NOW_NS + 60 * SECOND_NS}
    admission = admit(flat(), (second, minute), (), standings((), next_ns=full), NOW_NS)
    assert admission.reasons[0].wait_ns is not None
    later = NOW_NS + admission.reasons[0].wait_ns
    assert "allow" == admit(flat(), (second, minute), (), standings((), next_ns=full), later).effect
