"""Seeds against a ledger that had the new windows all along."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.rolling import rolled, settle_rolling
from aegis_gateway.domain.seed import Spent, seeds
from aegis_gateway.domain.window import PERIODS, Window, window_at

HOUR_NS = 3_600 * 10**9
NOW_NS = 1_795_000_000 * 10**9
BUDGET = Budget(id="b", owner="o", deputy=None, quantity="usd", limit=1, period="daily", zone="Europe/Berlin")

CALLS = st.lists(
    st.builds(
        Spent,
        scope=st.sampled_from(["", "a", "b"]),
        leg=st.sampled_from(
            [("", "2026-11-18"), ("a", "2026-11"), ("b", "rolling-86400s"), ("a", "2026-11-18")]
        ),
        amount=st.integers(0, 10**12),
        is_open=st.booleans(),
        admitted_ns=st.integers(NOW_NS - 60 * 24 * HOUR_NS, NOW_NS),
    ),
    max_size=30,
)


def window_of(budget: Budget) -> Window:
    """A budget's current window."""
    return window_at(budget.period, ZoneInfo(budget.zone), NOW_NS, length_ns=budget.length_ns)


@given(CALLS, st.sampled_from(PERIODS), st.integers(1, 400))
def test_a_seed_is_what_the_balance_would_be(calls: list[Spent], period: str, hours: int) -> None:
    """With the calls taken in one after the other, as a ledger does, the open ones at their maximum."""
    budget = msgspec.structs.replace(
        BUDGET, period=period, length_ns=hours * HOUR_NS if period == "rolling" else 0
    )
    window = window_of(budget)
    expected: dict[str, Standing] = {}
    for call in calls:
        if not window.starts_ns <= call.admitted_ns < window.ends_ns:
            continue
        standing = expected.get(call.scope, Standing()).reserve(call.amount)
        stays_open = call.is_open and call.leg == (call.scope, window.label)
        if not stays_open and budget.length_ns:
            # Settled at once, when nothing has left the window yet.
            standing = settle_rolling(
                standing,
                call.amount,
                call.amount,
                budget.length_ns,
                call.admitted_ns,
                call.admitted_ns - 10**18,
            )
        elif not stays_open:
            standing = standing.settle(call.amount, call.amount)
        expected[call.scope] = standing
    if budget.length_ns:
        expected = {scope: rolled(each, budget.length_ns, NOW_NS) for scope, each in expected.items()}
    found = seeds(budget, window, calls, NOW_NS)
    assert {scope: (each.pending, each.posted, each.buckets or {}) for scope, each in expected.items()} == {
        scope: (each.pending, each.posted, each.buckets or {}) for scope, each in found.items()
    }


@given(CALLS, st.sampled_from(PERIODS))
def test_a_seed_is_never_too_low(calls: list[Spent], period: str) -> None:
    """Whatever is open, settled or elsewhere: all that was admitted in the window is in it."""
    budget = msgspec.structs.replace(
        BUDGET, period=period, length_ns=24 * HOUR_NS if period == "rolling" else 0
    )
    window = window_of(budget)
    since_ns = NOW_NS - 24 * HOUR_NS if budget.length_ns else window.starts_ns
    for scope, standing in seeds(budget, window, calls, NOW_NS).items():
        admitted = sum(
            call.amount
            for call in calls
            if call.scope == scope and since_ns <= call.admitted_ns < window.ends_ns
        )
        assert standing.pending + standing.posted >= admitted
