"""Thresholds: at how much of a budget something is done, and what. Configuration only: what is passed is told in
`watched.py`, with the balance.

Rule: the list of acts is closed. What holds calls (`ACTS_ON_CALLS`) is judged like policies, what holds keys
(`ACTS_ON_KEYS`) is done to them; the others only tell people.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from aegis_gateway.domain.share import WHOLE

Basis = Literal["actual", "forecast", "exhaustion"]
"""What a threshold is measured by: what was spent in the window, what the window is expected to come to, or that a call
was refused because the budget had too little left for it (or all of it was spent).
"""

ActKind = Literal[
    "notify",
    "incident",
    "throttle",
    "downgrade",
    "require_approval",
    "block",
    "revoke_keys",
    "throttle_keys",
]
ACT_KINDS: tuple[ActKind, ...] = get_args(ActKind)
ACTS_ON_CALLS: tuple[ActKind, ...] = ("throttle", "downgrade", "require_approval", "block")
ACTS_ON_KEYS: tuple[ActKind, ...] = ("revoke_keys", "throttle_keys")

OF_BUDGET = "budget:"
"""What stands before a budget's id where rules are told of; no policy and no rate has such a sign in its id."""

EXHAUSTED = "exhausted"
"""The id of what is done when a budget is exhausted."""


class ThresholdAct(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One thing that is done: a `downgrade` is to `model`, a throttle lets `limit` calls through in `period_ns`."""

    kind: ActKind
    model: str = ""
    limit: int = 0
    period_ns: int = 0


class Threshold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """When so much of a budget's limit is used, these acts hold: a `share` of the limit in ten-thousandths, or an
    `amount` in the quantity's smallest unit.

    What holds calls and keys begins after the grace: `grace_amount` more, or `grace_ns` later; where it
    `waits_for_word`, not before somebody agrees. Held keys come back with the next window where it `restores`.
    """

    id: str
    share: int = 0
    amount: int = 0
    basis: Basis = "actual"
    acts: tuple[ThresholdAct, ...] = ()
    waits_for_word: bool = False
    grace_amount: int = 0
    grace_ns: int = 0
    restores: bool = True

    def amount_at(self, limit: int) -> int:
        """At how much of a limit it is passed, in the quantity's smallest unit, rounded up."""
        return self.amount or -(-limit * self.share // WHOLE)

    @property
    def is_of_calls(self) -> bool:
        """Whether it holds calls."""
        return any(act.kind in ACTS_ON_CALLS for act in self.acts)

    @property
    def is_of_keys(self) -> bool:
        """Whether it holds keys."""
        return any(act.kind in ACTS_ON_KEYS for act in self.acts)


def rule_of_threshold(budget: str, threshold: str) -> str:
    """What a threshold is called where rules are told of."""
    return f"{OF_BUDGET}{budget}@{threshold}"


def budget_of_rule(rule: str) -> str:
    """Of which budget such a rule is; empty where it is a policy's or somebody's."""
    return rule.removeprefix(OF_BUDGET).rpartition("@")[0] if rule.startswith(OF_BUDGET) else ""
