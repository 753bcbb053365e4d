"""What is carried over, against an account of what happened when, in whatever order calls are admitted and ended."""

from __future__ import annotations

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_gateway.application.books import Books, Windows
from aegis_gateway.domain.admit import BudgetClaim, admit
from aegis_gateway.domain.ledger import Leg
from aegis_gateway.domain.limits import CarryOver, limit_of
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.domain.window import Window
from tests.ledgers import DAY_NS, HOUR_NS, NOON_NS, budget

ACTS = st.one_of(
    st.tuples(st.just("admit"), st.integers(0, 120)),
    st.tuples(st.just("settle"), st.integers(0, 150)),
    st.tuples(st.just("release"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from((6 * HOUR_NS, 6 * HOUR_NS, 12 * HOUR_NS, 2 * DAY_NS))),
    st.tuples(st.just("limit"), st.integers(0, 200)),
)

RAN_OUT = [("admit", 10), ("wait", 12 * HOUR_NS), ("admit", 60), ("wait", 18 * HOUR_NS)]


class Account:
    """What happened, each with its time; what is carried is worked out of that, not kept."""

    def __init__(self, most: int, expires_ns: int) -> None:
        self.most, self.expires_ns = most, expires_ns
        self.happened: list[tuple[int, int, int]] = []
        self.carried: dict[int, int] = {}
        self.taken_under: dict[int, int] = {}

    def used(self, starts_ns: int, until_ns: int | None = None) -> int:
        """What was used or held of a window, before an instant."""
        return sum(
            amount
            for at_ns, window, amount in self.happened
            if window == starts_ns and (until_ns is None or at_ns < until_ns)
        )

    def counts(self, starts_ns: int, at_ns: int, limit: int) -> int:
        """What of the window before counts in one at an instant."""
        carried = self.carried.get(starts_ns)
        if carried is None:
            carried = max(0, min(self.most, self._left(starts_ns - DAY_NS, limit)))
        over_ns = starts_ns + self.expires_ns
        if self.expires_ns and at_ns >= over_ns:
            return min(carried, self.used(starts_ns, over_ns))
        return carried

    def _left(self, starts_ns: int, limit: int) -> int:
        if starts_ns not in self.carried:
            return limit if self.carried else 0
        acted = min(self.taken_under[starts_ns], limit)
        return acted + self.counts(starts_ns, starts_ns + DAY_NS, limit) - self.used(starts_ns)


def claim_of(limit: int, most: int, expires_ns: int) -> BudgetClaim:
    """A daily budget that carries over."""
    carry_over = CarryOver(most=most, expires_ns=expires_ns)
    return msgspec.structs.replace(budget("day", limit, period="daily"), carry_over=carry_over)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(ACTS, min_size=20, max_size=40),
    st.integers(0, 200),
    st.integers(1, 150),
    st.sampled_from((0, 6 * HOUR_NS, 18 * HOUR_NS)),
)
@example([*RAN_OUT, ("settle", 0), ("admit", 1)], 100, 100, 18 * HOUR_NS)
@example([*RAN_OUT, ("release", 0), ("admit", 1)], 100, 100, 18 * HOUR_NS)
def test_what_is_carried_over(acts: list[tuple[str, int]], limit: int, most: int, expires_ns: int) -> None:
    """At each admission the limit is what it must be, and no window ever takes more than it and what was left."""
    now_ns, account, windows = NOON_NS, Account(most, expires_ns), Windows()
    books = Books({}, {}, windows)
    held: list[tuple[Leg, Window, int]] = []
    for act, number in acts:
        match act:
            case "wait":
                now_ns += number
            case "limit":
                limit = number
            case "settle" if held:
                leg, window, admitted_ns = held.pop(number % len(held))
                books.settle("acme", (leg,), (number,), admitted_ns, now_ns=now_ns)
                account.happened.append((now_ns, window.starts_ns, number - leg.amount))
            case "release" if held:
                leg, window, _ = held.pop()
                books.release("acme", (leg,), now_ns)
                account.happened.append((now_ns, window.starts_ns, -leg.amount))
            case "admit":
                claim = claim_of(limit, most, expires_ns)
                window = windows.at(claim, now_ns)
                standings = books.standings_for("acme", (), (claim,), (window,), now_ns)
                counts = account.counts(window.starts_ns, now_ns, limit)
                assert limit + counts == limit_of(claim, standings.balance(claim, window), now_ns)
                quote = Quote(expected={USD: number}, maximum={USD: number})
                admission = admit(quote, (), (claim,), standings, now_ns)
                used = account.used(window.starts_ns)
                assert (used + number <= limit + counts) == (admission.effect == "allow")
                if admission.effect == "allow":
                    books.take("acme", admission, (claim,), (window,))
                    account.carried.setdefault(window.starts_ns, counts)
                    account.taken_under[window.starts_ns] = limit
                    account.happened.append((now_ns, window.starts_ns, number))
                    held.append((admission.legs[0], window, now_ns))
