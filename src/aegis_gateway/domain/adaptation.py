"""Adaptive limits: what a budget's limit should be next, told from what was used of it.

Rule 1: the next limit is the median of comparable windows and so many spreads above it, kept within bounds: no further
        from the present limit than is said, not below the floor, not above the ceiling or the parent's limit, and never
        lower than what of it is promised already.
Rule 2: nothing is proposed while there is an incident, or where too little was used to tell. What windows would have
        come to that the limit cut short isn't known: where they are half of all, it is never lowered, and raised by a
        person's word only. Otherwise who runs in circles would raise the limit that stops it, day by day.
Rule 3: a proposal says in words what it rests on and which bound bit. It changes nothing by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.adapts import SPREADS, Adapts, AdaptsBy
from aegis_gateway.domain.currency import units_text
from aegis_gateway.domain.money import NANO_PER_USD, usd_text
from aegis_gateway.domain.registry import Budget, Quantity
from aegis_gateway.domain.share import WHOLE, share_text
from aegis_gateway.domain.window import Window, window_at

WINDOWS_COMPARED = 8
WINDOWS_LEAST = 4
"""With fewer there is nothing to tell a spread by."""

DAYS_LOOKED_AT = 7 * WINDOWS_COMPARED
"""Older days are not compared with, used or not."""

_SPREAD_LEAST = 20
"""A spread is at least the median over this: what came to the same every time may still come to a little more."""

_WEEKDAYS_LEAST = 2
_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")

Bound = Literal["most_change", "floor", "ceiling", "parent", "promised"]
Held = Literal["incident", "too_little", "quiet_day", "done", "set_by_hand", "canary"]


class UsedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What was used in one window that is over, in the unit of the limit; of a split budget, by who used most.

    `cut_short`: calls were refused in it because nothing was left.
    """

    window: Window
    used: int
    cut_short: bool = False


class ProposedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit should be, and why, in the unit of the limit.

    `target` is the median of the compared `windows` (the newest first) and the spreads above it, before `bound`, which
    bit. Where the limit is `held` as it is, there may be none of them. It `applies` by a person's word where the budget
    says so, or where it is a person who has to know. `reasons` are for people.
    """

    budget: str
    present: int
    limit: int
    windows: tuple[UsedWindow, ...] = ()
    median: int | None = None
    spread: int | None = None
    target: int | None = None
    bound: Bound | None = None
    held: Held | None = None
    applies: AdaptsBy = "approval"
    reasons: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it is another limit than the present one."""
        return self.limit != self.present


def turn_of(budget: Budget, adapts: Adapts, now_ns: int) -> Window:
    """The day or week within which a limit is looked at once; its label names that turn."""
    if adapts.every == budget.period:
        return budget.window(now_ns)
    return window_at(adapts.every, ZoneInfo(budget.zone), now_ns)


def proposed_limit(
    budget: Budget,
    adapts: Adapts,
    quantity: Quantity,
    used: Sequence[UsedWindow],
    now_ns: int,
    *,
    present: int,
    parent_limit: int | None = None,
    promised: int = 0,
    has_incident: bool = False,
) -> ProposedLimit:
    """What a budget's limit should be in the window that an instant falls into.

    `used` are windows of the budget that are over, in any order; `present` is the limit that holds now, `parent_limit`
    what the budget that it is within lets it have, `promised` what of it is spent, reserved or given to others already.
    All are in the unit of the limit.
    """
    window = budget.window(now_ns)
    held = ProposedLimit(budget=budget.id, present=present, limit=present)
    if has_incident:
        return _held(held, "incident", "there is an incident, and limits stay as they are until it is over")
    lately = _in_use(used, window)
    quiet = _quiet_weekdays(budget, lately)
    if adapts.every == "daily" and (day := _weekday(budget, window)) in quiet:
        told = "are quiet; a limit that follows them would be too low on the next busy day"
        return _held(held, "quiet_day", f"{_WEEKDAYS[day]} {told}")
    compared = tuple(each for each in lately if _weekday(budget, each.window) not in quiet)[:WINDOWS_COMPARED]
    held = msgspec.structs.replace(held, windows=compared)
    if len(compared) < WINDOWS_LEAST:
        told = f"it was used in {len(compared)} windows to compare with, and {WINDOWS_LEAST} are the least"
        return _held(held, "too_little", told)
    median, spread, target = _target([each.used for each in compared], adapts.k_thousandths)
    unknown = 2 * sum(each.cut_short for each in compared) >= len(compared)
    wanted = max(target, present + _step(present, adapts)) if unknown else target
    limit, bound = _bounded(wanted, present, adapts, parent_limit)
    if limit < min(present, promised):
        limit, bound = min(present, promised), "promised"
    proposal = msgspec.structs.replace(
        held,
        limit=limit,
        median=median,
        spread=spread,
        target=target,
        bound=bound,
        applies="approval" if unknown else adapts.applies,
    )
    reasons = _reasons(proposal, quiet, adapts, LimitWords(budget=budget, quantity=quantity))
    return msgspec.structs.replace(proposal, reasons=tuple(reasons))


def _reasons(proposal: ProposedLimit, quiet: set[int], adapts: Adapts, say: LimitWords) -> Iterator[str]:
    """Why a limit is what it is, in words."""
    compared, k = proposal.windows, Decimal(adapts.k_thousandths) / SPREADS
    days = (
        f" ({', '.join(_WEEKDAYS[each] for each in sorted(quiet))} are quiet and left out)" if quiet else ""
    )
    yield (
        f"the median of {len(compared)} windows{days} is {say.amount(proposal.median or 0)}, their spread "
        f"{say.amount(proposal.spread or 0)}: with {k.normalize():f} spreads above it that is "
        f"{say.amount(proposal.target or 0)}"
    )
    if any(each.cut_short for each in compared):
        cut_short = sum(each.cut_short for each in compared)
        told = (
            f"{cut_short} of {len(compared)} windows were cut short by the limit, and would have come to more"
        )
        unknown = 2 * cut_short >= len(compared)
        yield f"{told}; how much isn't known, so a person has to say if it may rise" if unknown else told
    if proposal.bound is not None:
        yield say.bound(proposal.bound, proposal.limit, adapts)


def _held(proposal: ProposedLimit, held: Held, reason: str) -> ProposedLimit:
    return msgspec.structs.replace(proposal, held=held, reasons=(reason,))


def _in_use(used: Sequence[UsedWindow], window: Window) -> list[UsedWindow]:
    """Windows before one in which anything was used, the newest first; of days, the last weeks'."""
    over = [each for each in used if each.used > 0 and each.window.ends_ns <= window.starts_ns]
    return sorted(over, key=lambda each: each.window.starts_ns, reverse=True)[:DAYS_LOOKED_AT]


def _quiet_weekdays(budget: Budget, used: Sequence[UsedWindow]) -> set[int]:
    """Weekdays on which usually less than half is used of what is on the busiest, where that can be told.

    A daily budget has one limit, which moves by so much a day: could it follow each weekday, it would come out of a
    quiet weekend too low for Monday. So it follows the busy ones.
    """
    if budget.period != "daily":
        return set()
    of_weekdays: dict[int, list[int]] = defaultdict(list)
    for each in used:
        of_weekdays[_weekday(budget, each.window)].append(each.used)
    usual = {day: _median(found) for day, found in of_weekdays.items() if len(found) >= _WEEKDAYS_LEAST}
    return {day for day, median in usual.items() if 2 * median < max(usual.values())}


def _weekday(budget: Budget, window: Window) -> int:
    starts = datetime.fromtimestamp(window.starts_ns // 1_000_000_000, tz=UTC)
    return starts.astimezone(ZoneInfo(budget.zone)).weekday()


def _target(used: Sequence[int], k_thousandths: int) -> tuple[int, int, int]:
    """Median, spread (the median distance from it), and so many spreads above the median; each rounded up."""
    median = _median(used)
    spread = max(_median([abs(each - median) for each in used]), -(-median // _SPREAD_LEAST))
    return median, spread, median - (-k_thousandths * spread // SPREADS)


def _median(amounts: Sequence[int]) -> int:
    ordered = sorted(amounts)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else -(-(ordered[middle - 1] + ordered[middle]) // 2)


def _bounded(target: int, present: int, adapts: Adapts, parent_limit: int | None) -> tuple[int, Bound | None]:
    """A limit within its bounds, and the one that bit. What bounds it from above holds whatever else does."""
    step = _step(present, adapts)
    above: list[tuple[int, Bound]] = [(adapts.ceiling, "ceiling"), (present + step, "most_change")]
    if parent_limit is not None:
        above.insert(0, (parent_limit, "parent"))
    below: list[tuple[int, Bound]] = [(adapts.floor, "floor"), (present - step, "most_change")]
    highest, bound_above = min(above, key=_first)
    lowest, bound_below = max(below, key=_first)
    if target > highest or lowest > highest:
        return highest, bound_above
    if target < lowest:
        return lowest, bound_below
    return target, None


def _step(present: int, adapts: Adapts) -> int:
    return present * adapts.most_change // WHOLE


def _first(bound: tuple[int, Bound]) -> int:
    return bound[0]


class LimitWords(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's amounts, in the unit of its limit, as people read them."""

    budget: Budget
    quantity: Quantity

    def amount(self, amount: int) -> str:
        """An amount, to the cent where it is one of money."""
        if not self.quantity.is_money:
            return f"{(Decimal(amount) / self.quantity.scale).normalize():f} {self.quantity.id}"
        cent = NANO_PER_USD // 100
        rounded = (amount + cent // 2) // cent * cent if amount >= NANO_PER_USD else amount
        if self.budget.currency is not None:
            return f"{units_text(Decimal(rounded) / NANO_PER_USD)} {self.budget.currency.code}"
        return usd_text(rounded)

    def bound(self, bound: Bound, limit: int, adapts: Adapts) -> str:
        """Why a limit is no other."""
        words = {
            "most_change": f"it changes by at most {share_text(adapts.most_change)} at one time",
            "floor": "it never falls below its floor",
            "ceiling": "it never rises above its ceiling",
            "parent": f"it never rises above what `{self.budget.within}` has left for it",
            "promised": "it never falls below what of it is spent, reserved or given to others",
        }
        return f"{words[bound]}: {self.amount(limit)}"
