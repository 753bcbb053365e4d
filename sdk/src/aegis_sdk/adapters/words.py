"""What a model is told of a tool that was not run: why, what it would have cost, and what to do now."""

from __future__ import annotations

import math
from decimal import Decimal

from aegis_sdk.decision import Decision
from aegis_sdk.errors import (
    AegisError,
    AlreadyDone,
    ApprovalRequired,
    BudgetExhausted,
    InvalidRequest,
    RateLimited,
    Refused,
    Unavailable,
)

_CENT = Decimal("0.01")
_AS_IT_IS = "The same call will be refused again: do without it, or make one that is allowed."


def told(fault: AegisError) -> str:
    """The fault in words, for a model."""
    if isinstance(fault, AlreadyDone):
        return (
            f"This call was made before ({fault.decision.id}) and is paid for, so it was not made again; its result "
            "is no longer here. If you still need it, make a new call."
        )
    if isinstance(fault, Refused):
        return " ".join(
            (f"Not run: {_sentence(fault.decision.why)}", *_cost(fault.decision), _what_to_do(fault))
        )
    if isinstance(fault, InvalidRequest) and (fault.field or "").startswith("arguments"):
        argument = (fault.field or "").removeprefix("arguments").lstrip(".")
        where = f"argument `{argument}`: " if argument else ""
        return f"Not run: {where}{_sentence(str(fault))} Correct the arguments and call it again."
    if isinstance(fault, Unavailable):
        return f"Not run: {_sentence(str(fault))} No tool is run without its decision; try again later."
    return f"Not run: {_sentence(str(fault))}"


def not_approved(tool: str) -> str:
    """What a model is told of a call that a person said no to."""
    return f"Not run: a person was asked whether `{tool}` may be called like this, and said no. {_AS_IT_IS}"


def _what_to_do(fault: Refused) -> str:
    if isinstance(fault, ApprovalRequired):
        return "A person has to approve it first. Go on with something else, or say that you wait for the approval."
    if isinstance(fault, BudgetExhausted):
        return "Do without it, or with something cheaper; only the budget's owner can raise it."
    if isinstance(fault, RateLimited):
        wait_s = fault.retry_after_s
        return (
            "Wait before you call it again." if wait_s is None else f"Call it again in {math.ceil(wait_s)} s."
        )
    return _AS_IT_IS


def _cost(decision: Decision) -> list[str]:
    if decision.maximum_usd is None:
        return []
    cents = decision.maximum_usd.quantize(_CENT)
    amount = cents if cents == decision.maximum_usd else decision.maximum_usd
    return [f"It would have cost up to ${amount:f}."]


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."
