"""Rate limits: the generic cell rate algorithm (ITU-T I.371), in integer nanoseconds.

A limit of `limit` calls in `period_ns` spaces calls `interval_ns` apart; a burst may run ahead of that pace by
`burst` calls. Each call takes a *turn*, a stretch of one interval on the line of theoretical arrival times: the first
that is free and not past. All state is which of them are free: all from one time on, and what was given back before it.

Rule: turns never overlap, and a call takes none that began before it came. So however turns are given back and taken
        anew, between any two calls there are at most the burst and what the time between them allows.
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


Slot = tuple[int, int]
"""When a call's turn begins and ends, on the line of theoretical arrival times."""

FREE_MAX = 64
"""How many stretches that were given back one rate remembers. Beyond them the earliest is lost, which only delays."""


class Turns(msgspec.Struct, frozen=True, array_like=True):
    """Which turns of a rate are free: all from `next_ns` on, and the stretches before it that were given back."""

    next_ns: int = 0
    free: tuple[Slot, ...] = ()


ALL_FREE = Turns()
"""Of a rate that nobody has used."""


def turn_of(claim: RateClaim, turns: Turns, now_ns: int) -> Slot:
    """The turn that one more call would have."""
    interval_ns = claim.interval_ns
    for begins_ns, ends_ns in turns.free:
        begins_ns = max(begins_ns, now_ns)
        if begins_ns + interval_ns <= ends_ns:
            return begins_ns, begins_ns + interval_ns
    begins_ns = max(turns.next_ns, now_ns)
    return begins_ns, begins_ns + interval_ns


def wait_for(claim: RateClaim, turn: Slot, now_ns: int) -> int:
    """How long a call must wait that has a turn: 0 is not at all."""
    return max(0, turn[1] - claim.burst * claim.interval_ns - now_ns)


def wait_ns(claim: RateClaim, turns: Turns, now_ns: int) -> int:
    """How long a call must wait before the limit lets it through: 0 is now."""
    return wait_for(claim, turn_of(claim, turns, now_ns), now_ns)


def taken(turns: Turns, turn: Slot, now_ns: int) -> Turns:
    """What is free after a call has taken a turn that was; the caller stores it if the call is admitted."""
    begins_ns, ends_ns = turn
    free = turns.free and tuple(
        rest
        for first_ns, last_ns in turns.free
        for rest in ((first_ns, min(last_ns, begins_ns)), (max(first_ns, ends_ns), last_ns))
        if rest[0] < rest[1] and rest[1] > now_ns
    )
    return Turns(max(turns.next_ns, ends_ns), free)


def given_back(turns: Turns, turn: Slot, now_ns: int) -> Turns:
    """What is free once a call that took a turn is known never to have been sent."""
    stretches: list[Slot] = []
    for begins_ns, ends_ns in sorted((*turns.free, turn)):
        if stretches and stretches[-1][1] == begins_ns:
            stretches[-1] = (stretches[-1][0], ends_ns)
        else:
            stretches.append((begins_ns, ends_ns))
    next_ns = turns.next_ns
    if stretches[-1][1] == next_ns:  # nobody has a turn behind it
        next_ns = stretches.pop()[0]
    free = tuple(stretch for stretch in stretches if stretch[1] > now_ns)
    return Turns(next_ns, free[-FREE_MAX:])
