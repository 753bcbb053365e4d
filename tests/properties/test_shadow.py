"""Limits in shadow change nothing about a decision, whatever stands."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.admit import BudgetClaim, Standings, admit
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.rate import RateClaim, Turns
from aegis_gateway.domain.window import Window
from tests.ledgers import NOON_NS, SECOND_NS, budget, quote

WINDOW = Window(label="2026-11-23", starts_ns=NOON_NS - SECOND_NS, ends_ns=NOON_NS + SECOND_NS)

modes: st.SearchStrategy[Mode] = st.sampled_from(("enforce", "shadow"))


@st.composite
def budgets(draw: st.DrawFn) -> list[tuple[BudgetClaim, Standing]]:
    """Some budgets, acting or not, and what stands on each."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        claim = msgspec.structs.replace(
            budget(f"b{number}", limit=draw(st.integers(0, 300)), period="daily"),
            hard=draw(st.booleans()),
            mode=draw(modes),
        )
        made.append((claim, Standing(pending=draw(st.integers(0, 200)), posted=draw(st.integers(0, 200)))))
    return made


@st.composite
def rates(draw: st.DrawFn) -> list[tuple[RateClaim, int]]:
    """Some rates, acting or not, and when each expects its next call."""
    return [
        (
            RateClaim(
                rate=f"r{number}",
                scope="",
                limit=draw(st.integers(1, 3)),
                period_ns=SECOND_NS,
                burst=draw(st.integers(1, 3)),
                delay_ns=draw(st.sampled_from((0, SECOND_NS))),
                mode=draw(modes),
            ),
            NOON_NS + draw(st.integers(-SECOND_NS, 3 * SECOND_NS)),
        )
        for number in range(draw(st.integers(0, 3)))
    ]


@given(budgets(), rates(), st.integers(0, 150), st.integers(0, 150))
def test_shadow_changes_nothing(
    claimed: list[tuple[BudgetClaim, Standing]], paced: list[tuple[RateClaim, int]], one: int, other: int
) -> None:
    """Effect, reasons, wait, output limit, and all that acting limits take are as without those in shadow."""
    call = quote(max(one, other), min(one, other))

    def stand(those: list[tuple[BudgetClaim, Standing]], rated: list[tuple[RateClaim, int]]) -> Standings:
        return Standings(
            windows=(WINDOW,) * len(those),
            balances={(claim.budget, claim.scope, WINDOW.label): balance for claim, balance in those},
            arrivals={(claim.rate, claim.scope): Turns(arrival) for claim, arrival in rated},
        )

    acting = [each for each in claimed if each[0].mode == "enforce"]
    pacing = [each for each in paced if each[0].mode == "enforce"]
    alone = admit(
        call,
        tuple(rate for rate, _ in pacing),
        tuple(claim for claim, _ in acting),
        stand(acting, pacing),
        NOON_NS,
    )
    both = admit(
        call,
        tuple(rate for rate, _ in paced),
        tuple(claim for claim, _ in claimed),
        stand(claimed, paced),
        NOON_NS,
    )
    assert (alone.effect, alone.reasons, alone.wait_ns) == (both.effect, both.reasons, both.wait_ns)
    assert (alone.output_tokens, alone.maximum) == (both.output_tokens, both.maximum)
    assert alone.legs == both.legs[: len(alone.legs)]
    assert alone.arrivals.items() <= both.arrivals.items()
    if both.effect == "allow":
        in_shadow = len(claimed) - len(acting) + len(paced) - len(pacing)
        passed = len(both.legs) - len(alone.legs) + len(both.arrivals) - len(alone.arrivals)
        assert in_shadow == passed + len(both.shadow)
    else:
        assert ((), ()) == (both.shadow, both.legs)
