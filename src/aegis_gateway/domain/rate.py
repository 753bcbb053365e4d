"""Rate limits: the generic cell rate algorithm (ITU-T I.371), in integer nanoseconds.

A limit of `limit` calls in `period_ns` spaces calls `interval_ns` apart; a burst may run ahead of that pace by
`burst` calls. All state is one number, the theoretical arrival time of the next call.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.decision import Mode

OF_POLICY = "policy:"
"""What stands before a policy's id where its throttle is one rate among others; no rate has such a sign in its id."""


class RateClaim(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One rate limit as it applies to one call: whose, how often, how far ahead of the pace.

    A call that would have to wait no longer than `delay_ns` is let in and waits, rather than being refused.
    """

    rate: str
    scope: str
    limit: int
    period_ns: int
    burst: int
    delay_ns: int = 0
    mode: Mode = "enforce"

    @property
    def rule(self) -> str:
        """What it is called where rules are told of: `rate:ID`, or a policy's id alone."""
        return self.rate.removeprefix(OF_POLICY) if self.is_of_policy else f"rate:{self.rate}"

    @property
    def is_of_policy(self) -> bool:
        """Whether a policy wants it, rather than the configuration of rates."""
        return self.rate.startswith(OF_POLICY)

    @property
    def interval_ns(self) -> int:
        """The time between two calls at the limit, rounded up so that the limit is never passed."""
        return -(-self.period_ns // self.limit)


def take(claim: RateClaim, arrival_ns: int, now_ns: int) -> int:
    """The theoretical arrival time after one more call; the caller stores it if the call is admitted."""
    return max(arrival_ns, now_ns) + claim.interval_ns


def wait_ns(claim: RateClaim, arrival_ns: int, now_ns: int) -> int:
    """How long a call must wait before the limit lets it through: 0 is now."""
    earliest = take(claim, arrival_ns, now_ns) - claim.burst * claim.interval_ns
    return max(0, earliest - now_ns)
