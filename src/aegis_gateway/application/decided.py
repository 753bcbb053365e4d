"""A decision that is on disk, with what its door needs of it."""

from __future__ import annotations

from typing import Generic

import msgspec

from aegis_gateway.application.commands import Admitted
from aegis_gateway.application.judgement import D_co
from aegis_gateway.application.pace import CallTimer
from aegis_gateway.application.tracing import CallSpan, SpanNote, Trace
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.limits import limit_of
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.redaction import Counts, Redaction
from aegis_gateway.domain.trace_place import TracePlace


class AnswerRedaction(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be redacted in a call's answer, under the tenant's `key`; what redactions in shadow are watched."""

    redaction: Redaction = Redaction()
    watched: tuple[Shadow, ...] = ()
    key: bytes = b""

    def __bool__(self) -> bool:
        """Whether the answer has to be looked into."""
        return bool(self.redaction or self.watched)


class Decided(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A decision that is on disk, with what the door needs to carry it out and to settle it.

    `name` is what the upstream may know of the caller's name for the call. `own_credential`: the caller brought the
    upstream's credential itself. `answer` is what is to be redacted in the answer; once that was done, `redacted` is
    what was, and `shadow` what redactions in shadow would have. `span` is the call's, where there is telemetry; where
    it was made elsewhere, `note` is what is known of it. `place` is what is kept of where it stands in a trace.
    `timer` is the call's stopwatch, at the worker that decided.
    """

    call: str
    tenant: str
    described: D_co
    admitted: Admitted
    policy_version: str
    budgets: tuple[BudgetClaim, ...]
    run: str
    name: str | None = None
    downgraded_from: str | None = None
    own_credential: bool = False
    answer: AnswerRedaction = AnswerRedaction()
    redacted: Counts = {}
    shadow: tuple[Shadow, ...] = ()
    judged_ns: int = 0
    span: CallSpan | None = None
    note: SpanNote | None = None
    timer: CallTimer | None = None
    place: TracePlace | None = None

    @property
    def trace(self) -> Trace | None:
        """The call's place in its trace, for what it leads to."""
        return self.span.trace if self.span is not None else None

    @property
    def allows(self) -> bool:
        """Whether the call may be forwarded."""
        return self.admitted.effect == "allow"


def remaining_nano_usd(
    budgets: tuple[BudgetClaim, ...], balances: tuple[Standing, ...], now_ns: int
) -> int | None:
    """The least that is left on any budget of money that a call counts against; None where there is none."""
    enforced = [budget for budget in budgets if budget.mode == "enforce"]  # whose balances come first
    left = [
        balance.available(limit_of(budget, balance, now_ns))
        for budget, balance in zip(enforced, balances, strict=False)
        if budget.quantity == USD
    ]
    return min(left) if left else None
