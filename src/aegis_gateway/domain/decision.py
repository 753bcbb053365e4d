"""Decisions: what was decided about a call, and why, in words a person understands.

A refusal is a value: a decision whose effect is not `allow`, with at least one reason.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.domain.redaction import NO_REDACTIONS, Redactions

Effect = Literal["allow", "deny", "throttle", "require_approval"]

ReasonCode = Literal[
    "permitted",
    "proxied",
    "denied_by_policy",
    "no_permit",
    "policy_error",
    "unknown_tool",
    "unknown_price",
    "unbounded_cost",
    "budget_exhausted",
    "budget_measure",
    "too_many_instances",
    "too_deep",
    "too_many_runs",
    "run_ended",
    "rate_limited",
    "key_not_valid",
    "clock_fell_back",
    "capped",
    "downgraded",
    "throttled",
    "redacted",
    "approval_required",
    "approved",
    "approval_refused",
    "approval_not_valid",
    "too_many_approvals",
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
    A `cap` is at `output_tokens_max`, `cost_max_nano_usd` or both; a `redact` takes out `redactions`.
    """

    rule: str
    would: Literal["deny", "throttle", "require_approval", "cap", "downgrade", "redact", "allow", "error"]
    message: str = ""
    output_tokens_max: int | None = None
    cost_max_nano_usd: int | None = None
    redactions: Redactions = NO_REDACTIONS


def would_deny(reason: Reason) -> Shadow:
    """What a rule in shadow would have refused a call for."""
    return Shadow(rule=reason.subject, would="deny", message=reason.message)


class Throttle(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A policy's limit on how often what it matches may be called: `limit` times in `period_ns`, for each `per`.

    A budget's has the `scope` of its balance instead, and its threshold for a policy.
    """

    policy: str
    limit: int
    period_ns: int
    per: str = "agent"
    mode: Mode = "enforce"
    scope: str | None = None


class Undecided(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A policy that nobody can say of what it makes of a call, because the record lacks arguments that it looks at."""

    rule: str
    missing: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the policies say of a call, before budgets and rates; and what those in shadow would have changed.

    A call that is allowed may have to be lowered before it is sent: to `output_tokens_max`, to a maximum cost of
    `cost_max_nano_usd`, to another `model`. `throttles` hold for it beside the configured rates, those in shadow
    too, and where there are `asks`, a person has to agree before: of the group in `approvers` for what a
    policy asks that names one. `saw_utilisation`: it may depend on how much of its
    budgets is used. Of a call that is judged from the record, `undecided` are those that could make it another verdict.
    What `redactions` take out is not in the record of a refused call either.
    """

    effect: Effect
    reasons: tuple[Reason, ...]
    shadow: tuple[Shadow, ...] = ()
    output_tokens_max: int | None = None
    model: str | None = None
    cost_max_nano_usd: int | None = None
    throttles: tuple[Throttle, ...] = ()
    asks: tuple[Reason, ...] = ()
    approvers: tuple[tuple[str, str], ...] = ()
    saw_utilisation: bool = False
    undecided: tuple[Undecided, ...] = ()
    redactions: Redactions = NO_REDACTIONS

    @property
    def permits(self) -> bool:
        """Whether the call may go on to admission, and there to a person, where one has to agree."""
        return self.effect == "allow"


def refusal(reason: Reason) -> Verdict:
    """A verdict that refuses for one reason found outside the policies (no price, no such tool)."""
    return Verdict(effect="deny", reasons=(reason,))
