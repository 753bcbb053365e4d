"""How a budget's thresholds stand, for those who look: what is passed since when, what waits, what is next.

Rule: it is told from what the balance notes and what is configured now, as those who act tell it (`measure.py`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.limits import Limited
from aegis_gateway.domain.measure import acting
from aegis_gateway.domain.passing import amount_of
from aegis_gateway.domain.threshold import Threshold

ThresholdState = Literal["not_passed", "waiting", "declined", "grace", "agreed", "passed"]


class ThresholdStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One threshold of a balance, passed at `amount`; `since_ns` is when it came to its state, where it was passed.

    In `grace` it acts from `acts_ns` on, or once `acts_at` is spent. `left` is what may be spent before it is passed;
    None where that isn't told by what is spent, or it is passed.
    """

    threshold: Threshold
    amount: int
    state: ThresholdState
    since_ns: int | None = None
    acts_ns: int | None = None
    acts_at: int | None = None
    left: int | None = None


def threshold_standings(
    thresholds: tuple[Threshold, ...], budget: Limited, limit: int, balance: Standing, now_ns: int
) -> tuple[ThresholdStanding, ...]:
    """Those of a budget on one of its balances, whose limit is given, in their order."""
    return tuple(_stands(each, budget, limit, balance, now_ns) for each in thresholds)


def next_threshold(standings: tuple[ThresholdStanding, ...]) -> ThresholdStanding | None:
    """The one that is passed next by what is spent, if any is."""
    ahead = [each for each in standings if each.left is not None]
    return min(ahead, key=lambda each: each.left or 0) if ahead else None


def _stands(
    threshold: Threshold, budget: Limited, limit: int, balance: Standing, now_ns: int
) -> ThresholdStanding:
    amount = amount_of(threshold, budget, limit, balance)
    watched = balance.notes.watched if balance.notes is not None else None
    at = watched.find(threshold.id) if watched is not None else None
    if at is None or at.state in ("armed", "undone", "over"):
        left = None if threshold.basis == "forecast" else max(0, amount - balance.posted)
        return ThresholdStanding(threshold=threshold, amount=amount, state="not_passed", left=left)
    if at.state in ("waiting", "declined"):
        return ThresholdStanding(threshold=threshold, amount=amount, state=at.state, since_ns=at.since_ns)
    is_grace = (threshold.is_of_calls or threshold.is_of_keys) and not acting((threshold,), balance, now_ns)
    acts_at = min(at.amount, at.at) + threshold.grace_amount if threshold.grace_amount else None
    return ThresholdStanding(
        threshold=threshold,
        amount=amount,
        state="grace" if is_grace else "agreed" if at.waits else "passed",
        since_ns=at.since_ns,
        acts_ns=at.since_ns + threshold.grace_ns if is_grace and threshold.grace_ns else None,
        acts_at=acts_at if is_grace else None,
    )
