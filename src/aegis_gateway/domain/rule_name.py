"""What a rule is called where rules are told of: in shadow findings, replays, sums of refusals."""

from __future__ import annotations

from aegis_gateway.domain.threshold import OF_BUDGET


def rule_of(code: str, subject: str, message: str) -> str:
    """What a reason is about: `budget:ID`, `rate:ID`, or a policy's id alone."""
    if code in ("budget_exhausted", "too_many_instances", "unbounded_cost"):
        return f"budget:{subject}"
    if subject.startswith(OF_BUDGET):
        return subject
    if code == "rate_limited" and not message.startswith("policy "):
        return f"rate:{subject}"
    return subject


NO_PERMIT = "no_permit"
"""The rule that refuses what no policy permits."""

OF_POLICIES = frozenset(
    {
        "permitted",
        "denied_by_policy",
        "policy_error",
        "capped",
        "downgraded",
        "throttled",
        "redacted",
        "approval_required",
    }
)
"""Codes of reasons whose subject is a policy."""

_OF_RULES = OF_POLICIES | frozenset(
    {
        "rate_limited",
        "budget_exhausted",
        "budget_measure",
        "too_many_instances",
        "unbounded_cost",
        "too_deep",
        "too_many_runs",
    }
)
"""Codes of reasons whose subject is a rule that somebody wrote. That of others can be in the words of a caller."""


def acting_rule(code: str, subject: str, message: str) -> str | None:
    """The rule that a reason says the act of; None where it is about no rule."""
    if code == NO_PERMIT:
        return NO_PERMIT
    return (rule_of(code, subject, message) or None) if code in _OF_RULES else None
