"""Limits: what a budget lets be used in one of its windows, in the ledger's unit.

Rule 1: `limit_of` alone says it. What was fixed when the window opened (the rate of a currency, what was carried over)
        is read from the balance's notes; what is configured acts at once, and what is done to it to the nanosecond.
Rule 2: what a window carries over is fixed in the transaction that opens it: what was left of the window before, where
        what is pending counts as spent, and at most what the budget says.
Rule 3: carried money is spent first. What of it was not used when it ran out counts no more.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from aegis_gateway.domain.currency import Currency, ExchangeRate
from aegis_gateway.domain.ledger import NOTHING, Standing, WindowNotes
from aegis_gateway.domain.limit_change import LimitChange, changed, lowest
from aegis_gateway.domain.window import Window

_NO_NOTES = WindowNotes()


class CarryOver(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What may be taken into the next window: `most`, in the unit of the limit, and for how long; 0 is all of it."""

    most: int
    expires_ns: int = 0


class Limited(Protocol):
    """A budget, or a claim on one, as far as its limit goes; `limit` is in its currency, if it has one."""

    @property
    def limit(self) -> int: ...  # noqa: D102 - the class says it
    @property
    def changes(self) -> tuple[LimitChange, ...]: ...  # noqa: D102
    @property
    def zone(self) -> str: ...  # noqa: D102
    @property
    def currency(self) -> Currency | None: ...  # noqa: D102
    @property
    def carry_over(self) -> CarryOver | None: ...  # noqa: D102


def limit_of(budget: Limited, standing: Standing, now_ns: int) -> int:
    """What a budget lets be used in the window of a balance, at an instant.

    The balance is one that is `noted`, where that is wanted: without its rate a currency's limit is none.
    """
    limit = changed(budget.limit, budget.changes, now_ns) if budget.changes else budget.limit
    if not wants_notes(budget):
        return limit
    return in_ledgers_unit(budget, limit, standing) + carried(budget, standing, now_ns)


def carried(budget: Limited, standing: Standing, now_ns: int) -> int:
    """What of the limit of a window was carried into it."""
    if budget.carry_over is None:
        return 0
    notes = lapsed(standing, now_ns).notes
    amount = 0 if notes is None else notes.carried
    return min(amount, in_ledgers_unit(budget, budget.carry_over.most, standing))


def in_ledgers_unit(budget: Limited, amount: int, standing: Standing) -> int:
    """An amount of a budget's unit in the ledger's, which has no other money than dollars."""
    if budget.currency is None:
        return amount
    rate = rate_of(budget, standing)
    return 0 if rate is None else rate.nano_usd(amount)


def rate_of(budget: Limited, standing: Standing) -> ExchangeRate | None:
    """The rate that holds for a budget in the window of a balance; None where it has no currency, or no rate."""
    if budget.currency is None or standing.notes is None:
        return None
    return standing.notes.rates.get(budget.currency.code)


def wants_notes(budget: Limited) -> bool:
    """Whether anything is fixed when a window of a budget opens."""
    return budget.currency is not None or budget.carry_over is not None


def noted(budget: Limited, window: Window, standing: Standing, now_ns: int) -> Standing:
    """A balance as it is at an instant, with the rate of its window, if that wasn't fixed yet."""
    standing = lapsed(standing, now_ns)
    notes = standing.notes or _NO_NOTES
    if budget.currency is not None and budget.currency.code not in notes.rates:
        rate = budget.currency.at(window.starts_ns, budget.zone)
        if rate is not None:
            notes = msgspec.structs.replace(notes, rates={**notes.rates, budget.currency.code: rate})
            standing = msgspec.structs.replace(standing, notes=notes)
    return standing


def taken_under(limit: int, standing: Standing) -> Standing:
    """A balance that notes by which limit a call was last taken into it."""
    notes = standing.notes or _NO_NOTES
    if notes.limit == limit:
        return standing
    return msgspec.structs.replace(standing, notes=msgspec.structs.replace(notes, limit=limit))


def lasting_limit(budget: Limited, window: Window, standing: Standing, now_ns: int) -> int:
    """The least that a limit is from now until its window ends, in the ledger's unit, without what was carried into it:
    what is taken off it by then can't be carried over.
    """
    from_ns = min(now_ns, window.ends_ns - 1)
    limit = lowest(budget.limit, budget.changes, from_ns, window.ends_ns) if budget.changes else budget.limit
    return in_ledgers_unit(budget, max(0, limit), standing)


def opened(
    budget: Limited, window: Window, before: tuple[Window, Standing | None] | None, now_ns: int
) -> Standing:
    """The balance of a window that opens.

    `before` is the window before and its balance, which is None where nobody used it; None where the budget was never
    used before: then nothing is left of anything.
    """
    standing = noted(budget, window, NOTHING, now_ns)
    if budget.carry_over is None or before is None:
        return standing
    left = _left(budget, *before)
    amount = max(0, min(left, in_ledgers_unit(budget, budget.carry_over.most, standing)))
    if not amount:
        return standing
    expires_ns = budget.carry_over.expires_ns
    notes = msgspec.structs.replace(
        standing.notes or _NO_NOTES,
        carried=amount,
        carried_until_ns=window.starts_ns + expires_ns if expires_ns else 0,
    )
    return lapsed(msgspec.structs.replace(standing, notes=notes), now_ns)


def lapsed(standing: Standing, now_ns: int) -> Standing:
    """A balance as it is at an instant: of what was carried into it and has run out, what was used or held by then."""
    notes = standing.notes
    if notes is None or not notes.carried_until_ns or now_ns < notes.carried_until_ns:
        return standing
    used = min(notes.carried, max(0, standing.posted + standing.pending))
    notes = msgspec.structs.replace(notes, carried=used, carried_until_ns=0)
    return msgspec.structs.replace(standing, notes=notes)


def limit_at(budget: Limited, rate: ExchangeRate) -> int:
    """What the limit of a budget in another currency comes to at a rate, without what is carried over."""
    return rate.nano_usd(budget.limit)


def _left(budget: Limited, window: Window, standing: Standing | None) -> int:
    """What was left of a window, by the limit under which a call was last taken into it, or by that of now if it
    is lower. One that nobody used had all of its own left.
    """
    standing = noted(budget, window, standing or NOTHING, window.ends_ns)
    notes = standing.notes or _NO_NOTES
    limit = lasting_limit(budget, window, standing, window.ends_ns)
    if notes.limit is not None:
        limit = min(limit, notes.limit)
    return standing.available(limit + notes.carried)
