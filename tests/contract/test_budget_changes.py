"""What is done to limits while a configuration is in force, on every store."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec
import psycopg
import pytest

from aegis_gateway.application.ports import Store
from aegis_gateway.domain.budget_change import BudgetChange
from tests.ledgers import NOON_NS, Database, TurnableClock

HOUR_NS = 3_600_000_000_000

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
    starts_ns=NOON_NS,
    ends_ns=None,
    at_ns=NOON_NS,
    sequence=4,
    asked_by="ana",
    approver="ana",
    reason="quarter end",
    config_version=1,
)


def save(store: Store, *changes: dict[str, Any]) -> None:
    """Write changes, each the usual one but for what is said."""
    with store.change(["acme"]) as change:
        for what in changes:
            number = change.next_budget_change("acme")
            change.save_budget_changes([msgspec.structs.replace(CHANGE, number=number, **what)])


def live(store: Store) -> list[tuple[str, int, int | None]]:
    """Budget, amount and end of what workers are told of."""
    found = store.state().tenants["acme"].limit_changes
    return sorted((each.budget, each.change.amount, each.change.ends_ns) for each in found)


def test_a_change_is_kept_as_it_was_made(store: Store) -> None:
    """Field by field, with those of the same act, and by what it takes back."""
    undoing = {"kind": "roll_back", "undoes": 1, "amount": -50, "sequence": 9, "ends_ns": NOON_NS + HOUR_NS}
    save(store, {}, {"budget": "day", "approval": "apr_1"}, undoing)
    with store.change(["acme"]) as change:
        assert [CHANGE, msgspec.structs.replace(CHANGE, number=2, budget="day", approval="apr_1")] == (
            change.budget_changes_with("acme", 2)
        )
        assert [] == change.budget_changes_with("acme", 7)
        assert [] == change.budget_changes_with("zeta", 1)
        found = change.budget_change_undoing("acme", 1)
        assert (3, None) == (found.number if found else None, change.budget_change_undoing("acme", 2))


def test_workers_are_told_what_still_matters(store: Store, clock: TurnableClock) -> None:
    """What lasts and has begun is one sum; what a version put an end to, and what was over, isn't told."""
    save(
        store,
        {"amount": 9},
        {"kind": "configured", "amount": 0},
        {},
        {"amount": -20},
        {"amount": 5, "starts_ns": NOON_NS + HOUR_NS},
        {"budget": "day", "ends_ns": NOON_NS + HOUR_NS},
    )
    assert [("day", 50, NOON_NS + HOUR_NS), ("month", 5, None), ("month", 30, None)] == live(store)
    assert () == store.state().tenants["zeta"].limit_changes
    clock.turn(HOUR_NS)
    with store.change(["acme"]) as change:
        head = change.heads["acme"]
        change.save_head(msgspec.structs.replace(head, last_ns=change.now_ns))
        assert ["month", "month"] == [each.budget for each in change.limit_changes("acme")]
        assert [] == change.limit_changes("zeta")
    assert [("month", 5, None), ("month", 30, None)] == live(store)


@pytest.mark.parametrize(
    "sql",
    [
        "update budget_change set amount = 1",
        "delete from budget_change",
        "insert into budget_change select * from budget_change",
    ],
)
def test_no_change_is_ever_changed(store: Store, database: Database, sql: str) -> None:
    """Neither by what is written over it, nor by what is taken away."""
    save(store, {})
    with pytest.raises((apsw.Error, psycopg.Error)):
        database.execute(sql)
    assert [("month", 50, None)] == live(store)


def test_a_change_is_taken_back_once(store: Store, database: Database) -> None:
    """The store itself takes no second one that undoes the same."""
    save(store, {}, {"undoes": 1, "amount": -50})
    columns = ", ".join(BudgetChange.__struct_fields__)
    again = columns.replace("number", "7")
    with pytest.raises((apsw.Error, psycopg.Error)):
        database.execute(
            f"insert into budget_change ({columns}) select {again} from budget_change where undoes = 1"
        )
