"""The life of a call in the ledger: a transition table, and the legs that hold its money.

    reserved ──▶ dispatched ──▶ settled
       │             │             ▲
       ├──▶ released └──▶ in_doubt ┘
       └──▶ expired

Rule 1: only `reserved` may expire; what was dispatched counts at its maximum until there is evidence.
Rule 2: legs are fixed at admission; settlement and release use exactly those, whatever was configured since.
Rule 3: a settlement above the reservation is an overrun: booked truthfully, and said so.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.domain.currency import ExchangeRate
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.errors import IllegalTransition
from aegis_gateway.domain.price import ChargeLine
from aegis_gateway.domain.watched import Watched

State = Literal["refused", "reserved", "dispatched", "in_doubt", "settled", "released", "expired"]
Event = Literal["dispatch", "settle", "release", "expire", "lose"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("reserved", "dispatch"): "dispatched",
    ("reserved", "release"): "released",
    ("reserved", "expire"): "expired",
    ("dispatched", "settle"): "settled",
    ("dispatched", "lose"): "in_doubt",
    ("in_doubt", "settle"): "settled",
}

OPEN_STATES: tuple[State, ...] = ("reserved", "dispatched", "in_doubt")


def transition(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        IllegalTransition: the table has no such row.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"a call that is {state.replace('_', ' ')} cannot {event}") from None


class Leg(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one call holds of one budget's standing, in the quantity's smallest unit.

    `by_hour`: whether it is kept what is spent of the budget in each hour. Calls that were admitted before that was
    kept don't say.
    """

    budget: str
    scope: str
    window: str
    quantity: str
    amount: int
    by_hour: bool = True


class WindowNotes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a balance's window beside its sums: what was fixed when it opened, what has happened in it.

    It is written with the balance, under the same lock, and stored as JSON. `rates` are those of its start, by
    currency; `carried` is what of the window before counts on top of the limit, until when where it runs out sooner
    (0: no sooner); `limit` the one by which a call was last decided in it, where something of it may be carried over;
    `watched` are its budget's thresholds.
    """

    rates: dict[str, ExchangeRate] = {}
    carried: int = 0
    carried_until_ns: int = 0
    limit: int | None = None
    watched: Watched | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One budget's (or one scope's of it) balance in one window. Available is `limit - posted - pending`.

    Available may truthfully be negative: after an overrun, or when a limit was lowered. Pending never is. `buckets`
    are what of `posted` was admitted when, in a rolling window (`rolling.py`).
    """

    pending: int = 0
    posted: int = 0
    buckets: dict[int, int] | None = None
    notes: WindowNotes | None = None

    def available(self, limit: int) -> int:
        """What is left of a limit."""
        return limit - self.posted - self.pending

    def reserve(self, amount: int) -> Standing:
        """The balance with an amount more pending."""
        return Standing(
            pending=self.pending + amount, posted=self.posted, buckets=self.buckets, notes=self.notes
        )

    def release(self, amount: int) -> Standing:
        """The balance with a reservation given back.

        Raises:
            IllegalTransition: more would be given back than is pending; the ledger would be wrong.
        """
        if amount > self.pending:
            raise IllegalTransition(f"{amount} cannot be released where {self.pending} is pending")
        return Standing(
            pending=self.pending - amount, posted=self.posted, buckets=self.buckets, notes=self.notes
        )

    def settle(self, reserved: int, actual: int) -> Standing:
        """The balance with a reservation replaced by what was really spent.

        Raises:
            IllegalTransition: more would be given back than is pending; the ledger would be wrong.
        """
        if reserved > self.pending:
            raise IllegalTransition(f"{reserved} cannot be released where {self.pending} is pending")
        return Standing(
            pending=self.pending - reserved,
            posted=self.posted + actual,
            buckets=self.buckets,
            notes=self.notes,
        )


NOTHING = Standing()
"""The balance that nobody opened yet."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a settlement rests on.

    `source` says whose word it is; `lines` are the charge; `actual` is what the call really carried of each
    quantity other than money, in smallest units. A quantity that the evidence is silent about settles at what
    was reserved of it. `actor` is the person whose word it is, where it is one's. `redacted` is how many values were
    taken out of the answer, `shadow` what rules in shadow would have changed about it.
    """

    source: Literal["usage", "response", "not_sent", "estimate", "person", "sdk"]
    lines: tuple[ChargeLine, ...] = ()
    actual: dict[str, int] = {}
    note: str = ""
    actor: str = ""
    redacted: dict[str, int] = {}
    shadow: tuple[Shadow, ...] = ()

    @property
    def cost_nano_usd(self) -> int:
        """The cost: the sum of the lines."""
        return sum(line.nano_usd for line in self.lines)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What evidence comes to: the cost, what each leg is settled at, and whether that is above what was reserved."""

    cost_nano_usd: int
    amounts: tuple[int, ...]
    overrun: bool


def settlement(legs: tuple[Leg, ...], maximum_nano_usd: int | None, evidence: Evidence) -> Settlement:
    """Work out a settlement.

    A leg that counts money spent is settled at the cost; another at the evidence's word, or else at what was
    reserved. It is an overrun above any leg's reservation, or above the quoted maximum.
    """
    cost = evidence.cost_nano_usd
    amounts = settled_amounts(legs, cost, evidence.actual)
    above_maximum = maximum_nano_usd is not None and cost > maximum_nano_usd
    above_leg = any(amount > leg.amount for leg, amount in zip(legs, amounts, strict=True))
    return Settlement(cost_nano_usd=cost, amounts=amounts, overrun=above_maximum or above_leg)


def settled_amounts(legs: tuple[Leg, ...], cost_nano_usd: int, actual: dict[str, int]) -> tuple[int, ...]:
    """What each leg of a call is settled at."""
    return tuple(
        cost_nano_usd if leg.quantity == "usd" else actual.get(leg.quantity, leg.amount) for leg in legs
    )
