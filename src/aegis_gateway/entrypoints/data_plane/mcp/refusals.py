"""What a caller is told of a call that was not let through, or went wrong: a result whose text says it.

Rule: it is a result with `isError`, over HTTP 200. Of all forms that is the only one whose text reaches the model with
      every client; errors of JSON-RPC and of HTTP end up as exceptions that say less, or nothing.
"""

from __future__ import annotations

from typing import Any

from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided, remaining_nano_usd
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.decision import Reason, ReasonCode
from aegis_gateway.domain.money import usd_decimal_text, usd_text
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.entrypoints.data_plane.mcp.versions import OUR_META, Era
from aegis_gateway.entrypoints.data_plane.refusals import approval_record, refusal_words

_REMEDIES: dict[ReasonCode, str] = {
    "denied_by_policy": "don't repeat it as it is; do without it, or ask the agent's owner",
    "no_permit": "do without it, or ask the agent's owner for a policy that permits it",
    "policy_error": "do without it, and tell the agent's owner that a policy can't be evaluated",
    "unknown_tool": "call one of the tools that tools/list shows",
    "unknown_price": "ask the agent's owner to have its price configured",
    "unbounded_cost": "ask the agent's owner to have a bound configured",
    "budget_exhausted": "ask the budget's owner for more, or wait for its next window",
    "budget_measure": "ask the budget's owner to raise its limit, or wait for its next window",
    "too_many_instances": "go on in a run that is open",
    "too_deep": "do it yourself instead of calling another agent, or do without it",
    "too_many_runs": "go on in a run that is open, or end one that isn't needed any more",
    "run_ended": "leave the run out, so that a new one is opened",
    "approval_required": "a person has to agree first; call it again as it is once somebody has",
    "approval_refused": "don't repeat it; do without it, or ask whoever refused it",
    "approval_not_valid": "leave the approval out, and ask again",
    "too_many_approvals": "wait until some of what you asked for is answered",
    "obligation_unfulfilled": "leave out what a policy wants redacted, or ask the agent's owner",
    "clock_fell_back": "try again later",
}
_OTHERWISE = "do without it, or ask the agent's owner"


def decision_meta(decided: Decided[Described], moved: Moved | None) -> dict[str, Any]:
    """What Aegis decided of a call and what it came to, as its result's `_meta` tells it."""
    told: dict[str, Any] = {
        "decision_id": decided.call,
        "effect": decided.admitted.effect,
        "policy_version": decided.policy_version,
        "run": decided.run,
    }
    if not decided.allows:
        told["codes"] = [reason.code for reason in decided.admitted.reasons]
    if moved is not None:
        told["state"] = moved.state
        if moved.cost_nano_usd is not None:
            told["cost_usd"] = usd_decimal_text(moved.cost_nano_usd)
    balances = moved.balances if moved else decided.admitted.balances
    left = remaining_nano_usd(decided.budgets, balances, decided.judged_ns)
    if left is not None:
        told["budget_remaining_usd"] = usd_decimal_text(left)
    return told


def refused_result(decided: Decided[Described], era: Era) -> dict[str, Any]:
    """The result of a call that was refused: why, what it would have cost, and what to do."""
    reasons = decided.admitted.reasons
    words = [f"Aegis did not let this call through: {refusal_words(decided)}."]
    quote = decided.described.quote
    told = {**decision_meta(decided, None), **approval_record(decided.admitted.approval)}
    if isinstance(quote, Quote):
        words.append(_would_cost(quote))
        told["expected_usd"] = usd_decimal_text(quote.expected.get(USD, 0))
        if USD in quote.maximum:
            told["maximum_usd"] = usd_decimal_text(quote.maximum[USD])
    words.append(f"What to do: {_remedy(reasons[0])}.")
    wait_ns = reasons[0].wait_ns
    if wait_ns is not None:
        told["retry_after_ms"] = -(-wait_ns // 1_000_000)
    return error_result(" ".join(words), told, era)


def error_result(text: str, told: dict[str, Any], era: Era) -> dict[str, Any]:
    """A result that is an error, in words."""
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {OUR_META: told},
    }
    return {"resultType": "complete", **result} if era == "modern" else result


def _would_cost(quote: Quote) -> str:
    expected = usd_text(quote.expected.get(USD, 0))
    if USD not in quote.maximum:
        return f"It would have cost about {expected}, and nothing bounds that."
    maximum = usd_text(quote.maximum[USD])
    return (
        f"It would have cost {expected}."
        if maximum == expected
        else f"It would have cost {expected}, at most {maximum}."
    )


def _remedy(reason: Reason) -> str:
    if reason.code == "rate_limited" and reason.wait_ns is not None:
        return f"try again in {max(1, -(-reason.wait_ns // 1_000_000_000))} s, not before"
    return _REMEDIES.get(reason.code, _OTHERWISE)
