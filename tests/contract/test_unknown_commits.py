"""A commit of which nobody knows whether it happened: what it holds is held for somebody, or comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from aegis_gateway.application.commands import Admitted, Failed, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import LockedTenants, Store
from aegis_gateway.domain.errors import LedgerUnavailable
from tests.ledgers import admission, cost


class UnreliableStore:
    """A store that says at some commits that it does not know: `before` it was done, or `after`."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.faults: list[Literal["", "before", "after"]] = []

    @property
    def boot(self) -> str:
        return self.inner.boot

    @contextmanager
    def lock(self, tenants: Any) -> Iterator[LockedTenants]:
        fault = self.faults.pop(0) if self.faults else ""
        with self.inner.lock(tenants) as locked:
            yield locked
            if fault == "before":
                raise LedgerUnavailable("the connection was lost")
        if fault == "after":
            raise LedgerUnavailable("the connection was lost")

    def expired(self, limit: int) -> list[tuple[str, str]]:
        return self.inner.expired(limit)

    def orphans(self, limit: int) -> list[tuple[str, str]]:
        return self.inner.orphans(limit)

    def forget_old_answers(self, limit: int) -> None:
        self.inner.forget_old_answers(limit)

    def forget_old_runs(self, limit: int) -> None:
        self.inner.forget_old_runs(limit)

    def forget_old_requests(self, limit: int) -> None:
        self.inner.forget_old_requests(limit)


@pytest.fixture
def unreliable(store: Store) -> UnreliableStore:
    """The store, through somebody who loses answers."""
    return UnreliableStore(store)


def pending(store: Store) -> int:
    """What all balances hold."""
    return sum(int(row["pending"]) for row in store.query("select pending from standing"))


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_lonely_admission_is_taken_back(
    store: Store, unreliable: UnreliableStore, fault: Literal["before", "after"]
) -> None:
    """It is not answered with a decision, and after the next sweep it holds nothing."""
    ledger = Ledger(unreliable)
    unreliable.faults = [fault]
    (reply,) = ledger.process([admission("c1")])
    assert isinstance(reply, Failed)
    assert "unavailable" == reply.kind
    ledger.sweep()
    assert 0 == pending(store)


@pytest.mark.parametrize(
    "fault",
    [
        "before",
        "after",
    ],
)
def test_a_batch_is_answered_or_taken_back(
    store: Store, unreliable: UnreliableStore, fault: Literal["before", "after"]
) -> None:
    """Each of its admissions is answered with what is on disk, or holds nothing after the next sweep."""
    ledger = Ledger(unreliable)
    unreliable.faults = [fault]
    replies = ledger.process([admission("c1"), admission("c2")])
    ledger.sweep()
    answered = [reply for reply in replies if isinstance(reply, Admitted)]
    assert 100 * len(answered) == pending(store)


def test_a_repeated_id_takes_back_nothing_that_was_answered(
    store: Store, unreliable: UnreliableStore
) -> None:
    """A call that was sent keeps counting at its maximum, whatever becomes of another one under its id."""
    ledger = Ledger(unreliable)
    assert isinstance(ledger.process([admission("c1")])[0], Admitted)
    unreliable.faults = ["before"]
    assert isinstance(ledger.process([admission("c1")])[0], Failed)
    ledger.sweep()
    assert 100 == pending(store)


def test_a_settlement_is_made_again(store: Store, unreliable: UnreliableStore) -> None:
    """In a batch or alone, whether it was committed or not, it is one charge."""
    ledger = Ledger(unreliable)
    ledger.process([admission("c1"), admission("c2")])
    unreliable.faults = ["after"]
    settles = [Settle(call=call, tenant="acme", evidence=cost(40)) for call in ("c1", "c2")]
    assert ["Moved", "Moved"] == [type(reply).__name__ for reply in ledger.process(settles)]
    assert [{"pending": 0, "posted": 80}] == store.query("select pending, posted from standing")
    assert [{"total": 80}] == store.query("select sum(nano_usd) as total from charge_line")


def test_a_repeated_id_in_a_batch_takes_back_nothing_that_was_answered(
    store: Store, unreliable: UnreliableStore
) -> None:
    """It fails the batch as a whole, and alone it is refused; the call that was sent keeps counting."""
    ledger = Ledger(unreliable)
    ledger.process([admission("c1")])
    replies = ledger.process([admission("c2"), admission("c1")])
    assert ["Admitted", "Failed"] == [type(reply).__name__ for reply in replies]
    ledger.sweep()
    assert 200 == pending(store)


def test_an_admission_that_is_asked_again_is_not_taken_back(
    store: Store, unreliable: UnreliableStore
) -> None:
    """Once it is answered, it counts."""
    ledger = Ledger(unreliable)
    unreliable.faults = ["before"]
    ledger.process([admission("c1")])
    assert isinstance(ledger.process([admission("c1")])[0], Admitted)
    ledger.sweep()
    assert 100 == pending(store)


def test_an_id_twice_in_a_failed_batch_takes_back_nothing_that_was_answered(
    ledger: Ledger, store: Store
) -> None:
    """The first is answered when the batch is done again call by call, and is not the second's unknown commit."""
    replies = ledger.process([admission("c1"), admission("bad\ud800"), admission("c1")])
    assert ["Admitted", "Failed", "Failed"] == [type(reply).__name__ for reply in replies]
    ledger.sweep()
    assert 100 == pending(store)
