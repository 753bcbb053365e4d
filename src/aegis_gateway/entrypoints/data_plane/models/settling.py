"""What a model's answer proves of its cost.

Rule: an explicit zero is zero. A usage that is missing, or that nothing prices, settles at the maximum and says so; an
answer that broke off before it was counted is in doubt.
"""

from __future__ import annotations

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.price import Usage, model_charges
from aegis_gateway.domain.quote import CALLS, TOKENS, Quote
from aegis_gateway.entrypoints.data_plane.forwarding import at_maximum, no_charge, put_in_doubt, settle
from aegis_gateway.entrypoints.data_plane.models.call import ModelCall
from aegis_gateway.entrypoints.data_plane.models.reading import parsed


async def settle_free(calls: Calls, decided: Decided[ModelCall]) -> Moved | None:
    """Settle what the provider charges nothing for."""
    evidence = Evidence(
        source="response", actual={CALLS: 1, TOKENS: 0}, note="the provider charges nothing for this"
    )
    return await settle(calls, decided, evidence)


async def settle_usage(
    calls: Calls, decided: Decided[ModelCall], usage: Usage | None, why_not: str
) -> Moved | None:
    """Settle at the usage that was reported, or at the maximum where none was, or where it has no price."""
    call = decided.described
    if usage is not None and call.target is not None and call.target.price is not None:
        lines = model_charges(call.target.price, usage)
        if lines is not None:
            actual = {TOKENS: usage.tokens, CALLS: 1}
            return await settle(calls, decided, Evidence(source="usage", lines=lines, actual=actual))
        why_not = "the answer's usage has something in it that has no price"
    return await settle_high(calls, decided, why_not)


async def settle_high(calls: Calls, decided: Decided[ModelCall], why: str) -> Moved | None:
    """Settle at the most the call can have cost; put it in doubt where nothing bounds that."""
    quote = decided.described.quote
    assert isinstance(quote, Quote), "an allowed call has a quote"
    estimate = at_maximum(quote, decided.admitted.maximum, f"{why}; counted at the maximum")
    if estimate is None:
        return await put_in_doubt(calls, decided, why)
    return await settle(calls, decided, estimate)


async def settle_error(calls: Calls, decided: Decided[ModelCall], status: int, body: bytes) -> Moved | None:
    """Nothing is charged for what the provider itself refused or failed; anything else is in doubt."""
    if 400 <= status < 500 or _is_error(body):
        return await settle(calls, decided, no_charge(status))
    return await put_in_doubt(calls, decided, f"the upstream answered {status} without saying why")


async def settle_broken(
    calls: Calls, decided: Decided[ModelCall], usage: Usage | None, why: str
) -> Moved | None:
    """Settle a stream that ended before its end: at its usage, if it had told that, or else not yet."""
    if usage is not None:
        return await settle_usage(calls, decided, usage, why)
    return await put_in_doubt(calls, decided, why)


def _is_error(body: bytes) -> bool:
    """Whether an answer is an API's own error object, and so the provider's word that it did not do the work."""
    answer = parsed(body)
    if isinstance(answer, list) and answer:
        answer = answer[0]
    return isinstance(answer, dict) and "error" in answer
