"""Decisions: what was decided about a call, and why, in words a person understands.

A refusal is a value: a decision whose effect is not `allow`, with at least one reason.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Effect = Literal["allow", "deny", "throttle"]

ReasonCode = Literal[
    "permitted",
    "denied_by_policy",
    "no_permit",
    "policy_error",
    "unknown_tool",
    "unknown_price",
    "unbounded_cost",
    "budget_exhausted",
    "too_many_instances",
    "rate_limited",
    "key_not_valid",
    "clock_fell_back",
    "capped",
    "downgraded",
    "obligation_unfulfilled",
]


class Reason(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Why: a stable code for programs, a sentence for people, and what it is about (policy, budget, rate)."""

    code: ReasonCode
    message: str
    subject: str = ""
    wait_ns: int | None = None


Mode = Literal["enforce", "shadow"]
"""Whether a rule acts, or only says what it would have done."""


class Shadow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a rule in shadow would have changed about a call, had it alone been enforced beside the enforced ones.

    `rule` is a policy's id, or `budget:ID` or `rate:ID`. `error`: it could not be evaluated, and would have refused.
    A `cap` is at `output_tokens_max`.
    """

    rule: str
    would: Literal["deny", "throttle", "cap", "downgrade", "allow", "error"]
    message: str = ""
    output_tokens_max: int | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the policies say of a call, before budgets and rates; and what those in shadow would have changed.

    A call that is allowed may have to be lowered before it is sent: to `output_tokens_max`, to another `model`.
    """

    effect: Effect
    reasons: tuple[Reason, ...]
    shadow: tuple[Shadow, ...] = ()
    output_tokens_max: int | None = None
    model: str | None = None

    @property
    def permits(self) -> bool:
        """Whether the call may go on to admission."""
        return self.effect == "allow"


def refusal(reason: Reason) -> Verdict:
    """A verdict that refuses for one reason found outside the policies (no price, no such tool)."""
    return Verdict(effect="deny", reasons=(reason,))
