"""What an agent's developer can do about a refusal, by why it was refused."""

from __future__ import annotations

from aegis_gateway.domain.decision import ReasonCode

_ADVICE: dict[ReasonCode, str] = {
    "denied_by_policy": (
        "Call what the policy leaves open, or ask whoever keeps the policies to change it: the "
        "same call is refused again until they do."
    ),
    "no_permit": (
        "Nothing may be called that no policy permits. Ask whoever keeps the policies for one "
        "that permits this agent this model or tool."
    ),
    "policy_error": (
        "A policy could not be evaluated on the call. Send each argument that it looks at in "
        "the type that the tool declares, or have the policy mended."
    ),
    "unknown_tool": (
        "Call something that is configured (`GET /v1/models` lists models), or have this model "
        "or operation added."
    ),
    "unknown_price": "Have a price stated for it: what nobody knows the price of isn’t sent.",
    "unbounded_cost": (
        "Leave out what has no upper bound, or have a bound stated: a hard budget refuses what "
        "could cost anything."
    ),
    "budget_exhausted": (
        "Wait for the budget’s next window, ask for less (a lower output limit, a cheaper "
        "model), or ask the owner of the budget for more: `aegis budget ask`."
    ),
    "budget_measure": (
        "A threshold of the budget is passed, and this is what it does then. Its owner can "
        "raise the limit or undo it: `aegis budget ask`."
    ),
    "too_many_instances": (
        "The agent opened as many balances (runs, customers) as it may in a day. Reuse a run, "
        "or have `instances_max` raised."
    ),
    "too_deep": (
        "Runs are delegated too deep. Let the agent do it in its own run, or have `max_depth` raised."
    ),
    "too_many_runs": (
        "End runs that are over (`POST /v1/runs/end`); those that nobody calls in end by themselves."
    ),
    "run_ended": "Open a new run: this one is over.",
    "rate_limited": (
        "Spread the calls, and wait as long as `Retry-After` says; clients of the usual libraries do so."
    ),
    "key_not_valid": (
        "The key is held, revoked or has run out. See below who holds it, or ask for a new one."
    ),
    "clock_fell_back": "The gateway’s clock stands wrong; whoever runs it has to see to that.",
    "obligation_unfulfilled": (
        "What a policy wants done to the call can’t be done. Send it in a form in which it can, "
        "or have the policy changed."
    ),
    "approval_required": (
        "Somebody has to agree. Repeat the call as it is once they have: `/approvals` shows what waits."
    ),
    "approval_refused": "Somebody said no; the call’s page says who and why.",
    "approval_not_valid": (
        "What was agreed to is used up, has run out, or was for another call. Ask anew by leaving its id out."
    ),
    "too_many_approvals": "Too many of its requests wait for somebody. Let those be answered first.",
}


def advice_on(code: str) -> str:
    """What to do about it; empty where there is nothing to say."""
    return next((words for known, words in _ADVICE.items() if known == code), "")
