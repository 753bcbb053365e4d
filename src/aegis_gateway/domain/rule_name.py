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
