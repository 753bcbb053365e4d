"""All errors of the SDK.

AegisError
├── Refused                 the gateway decided against the call; `decision` says why
│   ├── Denied              by policy, for want of a permit, or because nobody knows the tool or its price
│   ├── BudgetExhausted     a budget has less left than the call may cost
│   ├── RateLimited         too often; `retry_after_s` says when it may be tried again
│   ├── TooManyRuns         the owner has as many runs open as he may have
│   ├── ApprovalRequired    a person has to agree before
│   └── AlreadyDone         a call of this name was made and settled before
├── Unavailable             the gateway was not reached, did not answer in time, or cannot decide now
├── InvalidRequest          the gateway, or this package, does not understand what is asked
├── Unauthorized            the API key is missing, unknown, revoked, or its agent is not registered
└── NotRun                  raised by a guarded tool that did nothing: its call is released
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis_sdk.decision import Decision


class AegisError(Exception):
    """Anything that keeps a call from being decided, made or settled."""


class Refused(AegisError):
    """The gateway decided against the call, so it was not made."""

    def __init__(self, decision: Decision) -> None:
        """Keep the decision."""
        super().__init__(decision.why)
        self.decision = decision

    def __reduce__(self) -> tuple[type[Refused], tuple[Decision]]:
        """Errors travel between processes with their decision."""
        return type(self), (self.decision,)


class Denied(Refused):
    """By policy, for want of a permit, or because nobody knows the tool or its price."""


class BudgetExhausted(Refused):
    """A budget has less left than the call may cost."""


class RateLimited(Refused):
    """The call comes too soon after others."""

    @property
    def retry_after_s(self) -> float | None:
        """When it may be tried again, in seconds from the decision; None where waiting alone does not help."""
        waits = [each.retry_after_ms for each in self.decision.reasons if each.retry_after_ms is not None]
        return max(waits) / 1000 if waits else None


class TooManyRuns(Refused):
    """The agent's owner has as many runs open as he may have: end one, or wait until one is idle."""


class ApprovalRequired(Refused):
    """A person has to agree before the call may be made. The same call again is let through once somebody has."""

    @property
    def approval_id(self) -> str | None:
        """The id of the request, for `wait_for_approval`."""
        return self.decision.approval.id if self.decision.approval is not None else None

    @property
    def status_url(self) -> str | None:
        """Where it is told how the request stands, at the gateway."""
        return self.decision.approval.status_url if self.decision.approval is not None else None


class AlreadyDone(Refused):
    """A call of this name was made and settled before: it is not made a second time."""


class Unavailable(AegisError):
    """The gateway was not reached, did not answer in time, or cannot decide now.

    `may_have_arrived`: it may have got the request all the same.
    """

    def __init__(self, message: str, *, may_have_arrived: bool = True) -> None:
        """Keep whether the gateway may have got the request."""
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


class InvalidRequest(AegisError):
    """What was asked makes no sense: `field` is what is wrong in it, `status` the gateway's, if it was asked."""

    def __init__(self, message: str, *, field: str | None = None, status: int | None = None) -> None:
        """Keep what is wrong."""
        super().__init__(message)
        self.field = field
        self.status = status


class Unauthorized(AegisError):
    """The API key is missing, unknown, revoked, or its agent is not registered."""


class NotRun(AegisError):
    """Raised by a guarded tool that surely did nothing: its call is released, and costs nothing.

    One call alone: if the tool was called by another guarded one, that one was run.
    """

    _is_taken = False

    def take(self) -> bool:
        """Whether it is the first call's that asks: that which it was raised in."""
        was_taken, self._is_taken = self._is_taken, True
        return not was_taken
