"""Which of what was done to limits still says anything."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aegis_gateway.domain.budget_change import BudgetChange, StoredLimitChange, with_change
from aegis_gateway.domain.limit_change import LimitChange

CHANGE = BudgetChange(
    tenant="acme",
    number=1,
    budget="month",
    kind="increase",
    amount=50,
    unit="usd",
    configured=100,
    limit_before=100,
    limit_after=150,
    starts_ns=10,
    ends_ns=None,
    at_ns=10,
    sequence=4,
    asked_by="ana",
    approver="ana",
    reason="quarter end",
    config_version=1,
)


def of(number: int, **what: Any) -> BudgetChange:
    """A change of that number."""
    return msgspec.structs.replace(CHANGE, number=number, **what)


def known(*changes: BudgetChange) -> list[tuple[int, int, int | None]]:
    """What still matters after changes: to which limit, how much, until when."""
    stored: list[StoredLimitChange] = []
    for change in changes:
        stored = with_change(stored, change)
    return [(each.configured, each.change.amount, each.change.ends_ns) for each in stored]


def test_what_lasts_is_one_sum_and_what_is_over_is_forgotten() -> None:
    """One for each limit that it was made to; what begins later is kept apart, and what ends by itself until then."""
    raised = (of(1), of(2, amount=-20, at_ns=20, starts_ns=20), of(3, ends_ns=90), of(4, starts_ns=70))
    assert [(100, 30, None), (100, 50, None), (100, 50, 90)] == known(*raised)
    assert [(100, 30, None), (100, 50, None), (200, 7, 200)] == known(
        *raised, of(5, at_ns=90, starts_ns=90, amount=7, configured=200, ends_ns=200)
    )


def test_a_version_ends_what_lasts() -> None:
    """What ends by itself goes on, as does what is done later."""
    changes = (of(1), of(2, ends_ns=90), of(4, kind="configured", amount=100))
    assert [(100, 50, 90)] == known(*changes)
    assert [(200, 7, None), (100, 50, 90)] == known(*changes, of(5, configured=200, amount=7))


@pytest.mark.parametrize(
    ("unit", "configured", "ends_ns", "holds"),
    [("usd", 100, None, True), ("usd", 200, None, False), ("usd", 200, 90, True), ("tokens", 100, 90, False)],
)
def test_a_change_says_something_of_the_limit_that_it_was_made_to(
    unit: str, configured: int, ends_ns: int | None, holds: bool
) -> None:
    """A lasting one of no other limit, and none of a budget that counts something else by now."""
    change = LimitChange(amount=1, starts_ns=0, ends_ns=ends_ns)
    stored = StoredLimitChange(budget="month", unit="usd", configured=100, change=change)
    assert holds == stored.holds_for(unit, configured)
