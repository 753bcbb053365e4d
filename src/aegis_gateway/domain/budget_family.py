"""Budgets with what was done to their limits, and what limits that stand together must keep.

Rule 1: the limits of the budgets `within` another never add up to more than that one's, at any instant at which they
        didn't before; of those that are split, one balance counts.
Rule 2: money is moved only between budgets that are counted alike, so both sides begin and end with the same window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from aegis_gateway.domain.budget_change import StoredLimitChange
from aegis_gateway.domain.limit_change import LimitChange, changed, turns
from aegis_gateway.domain.registry import Budget


def with_changes(budgets: Mapping[str, Budget], stored: Iterable[StoredLimitChange]) -> dict[str, Budget]:
    """Budgets as configured, with the changes that say anything of their limits."""
    found: dict[str, list[LimitChange]] = defaultdict(list)
    for each in stored:
        budget = budgets.get(each.budget)
        if budget is not None and each.holds_for(budget.unit, budget.limit) and each.change.amount:
            found[each.budget].append(each.change)
    return {
        name: msgspec.structs.replace(budget, changes=tuple(found[name]))
        if name in found or budget.changes
        else budget
        for name, budget in budgets.items()
    }


Reconfigured = tuple[tuple[Budget, Budget | None], ...]
"""Budgets whose limits a version configures anew, as they were and as they are; None for one that is gone."""


def reconfigured(old: Mapping[str, Budget], new: Mapping[str, Budget]) -> Reconfigured:
    """The budgets whose limits are other ones by a version: their lasting changes end with it."""
    return tuple(
        (budget, new.get(name))
        for name, budget in old.items()
        if name not in new or (budget.limit, budget.unit) != (new[name].limit, new[name].unit)
    )


def add_changes(
    budgets: Mapping[str, Budget], added: Mapping[str, Iterable[LimitChange]]
) -> dict[str, Budget]:
    """Budgets with more changes of their limits."""
    return {
        name: msgspec.structs.replace(budget, changes=(*budget.changes, *added[name]))
        if name in added
        else budget
        for name, budget in budgets.items()
    }


def are_counted_alike(one: Budget, other: Budget) -> bool:
    """Whether two budgets count the same, in the same unit and the same windows, and both act or neither."""
    return _counted(one) == _counted(other)


def _counted(budget: Budget) -> tuple[object, ...]:
    return (
        *(budget.quantity, budget.unit, budget.period, budget.zone, budget.once, budget.length_ns),
        *(budget.year_starts, budget.mode),
    )


class OverParent(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the budgets within another add up to more than that one's limit, at an instant."""

    parent: str
    by: int
    at_ns: int


def over_parents(
    before: Mapping[str, Budget], after: Mapping[str, Budget], now_ns: int
) -> tuple[OverParent, ...]:
    """Where budgets add up to more than their parent from now on, and by more than they did before."""
    found = []
    for parent in after.values():
        children = [budget for budget in after.values() if _is_within(budget, parent)]
        if not children:
            continue
        changes = [change for budget in (parent, *children) for change in budget.changes]
        for at_ns in turns(changes, now_ns, None):
            by = _excess(parent.id, after, at_ns)
            if by > max(0, _excess(parent.id, before, at_ns)):
                found.append(OverParent(parent=parent.id, by=by, at_ns=at_ns))
                break
    return tuple(found)


def room_within(budget: Budget, budgets: Mapping[str, Budget], now_ns: int) -> int | None:
    """By how much a budget's limit may rise for good, so that its parent bears it; None where it is within none."""
    parent = budgets.get(budget.within) if budget.within is not None else None
    if parent is None or not _is_within(budget, parent):
        return None
    return _room_below(parent, budgets, now_ns)


def room_above(budget: Budget, budgets: Mapping[str, Budget], now_ns: int) -> int | None:
    """By how much a budget's limit may fall for good, so that it bears those within it; None where there are none."""
    if not any(_is_within(each, budget) for each in budgets.values()):
        return None
    return _room_below(budget, budgets, now_ns)


def _room_below(parent: Budget, budgets: Mapping[str, Budget], now_ns: int) -> int:
    """The least that a budget's limit is ever above those within it, from now on."""
    family = [parent, *(each for each in budgets.values() if _is_within(each, parent))]
    changes = [change for budget in family for change in budget.changes]
    return max(0, min(-_excess(parent.id, budgets, at_ns) for at_ns in turns(changes, now_ns, None)))


def _is_within(budget: Budget, parent: Budget) -> bool:
    return budget.within == parent.id and budget.unit == parent.unit


def _excess(parent: str, budgets: Mapping[str, Budget], at_ns: int) -> int:
    above = budgets[parent]
    within = (each for each in budgets.values() if _is_within(each, above))
    return sum(changed(each.limit, each.changes, at_ns) for each in within) - changed(
        above.limit, above.changes, at_ns
    )
