"""Waiting for people's words: one look for all who wait, none while nobody does, and whoever leaves is forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.domain.approval import Approval, ApprovalState
from aegis_gateway.domain.errors import LedgerUnavailable


class Store:
    """Requests whose states are set by the test, and the looks at them."""

    def __init__(self, **states: ApprovalState) -> None:
        self.known = dict(states)
        self.looks: list[list[str]] = []
        self.looked = threading.Event()
        self.faults = 0

    def approval(self, tenant: str, approval: str) -> Approval | None:
        return None

    def states(self, approvals: Collection[str]) -> dict[str, ApprovalState]:
        self.looks.append(sorted(approvals))
        self.looked.set()
        if self.faults:
            self.faults -= 1
            raise LedgerUnavailable("not now")
        return {name: self.known[name] for name in approvals if name in self.known}


def test_one_look_tells_all_who_wait() -> None:
    """Two who wait for one request, and one for another, cost one look each time; then nobody looks any more."""
    store = Store(a="waiting", b="waiting")
    watch = ApprovalWatch(store)

    async def wait() -> list[bool]:
        waiting = [asyncio.create_task(watch.until_decided(name, 10)) for name in ("a", "a", "b")]
        await asyncio.to_thread(store.looked.wait, 5)
        store.known.update(a="granted", b="refused")
        return await asyncio.gather(*waiting)

    assert [True, True, True] == asyncio.run(wait())
    assert [["a", "b"]] * 2 == store.looks
    assert {} == watch._waiting
    assert watch._looking is None


def test_in_vain() -> None:
    """What nobody decides is waited for so long and no longer; who isn't there any more is not waited for at all."""
    watch = ApprovalWatch(Store(a="waiting"))
    assert not asyncio.run(watch.until_decided("a", 0.01))
    assert asyncio.run(watch.until_decided("gone", 10))


def test_whoever_leaves_is_forgotten() -> None:
    """Nothing is left of a caller whose waiting was cancelled."""
    watch = ApprovalWatch(Store(a="waiting"))

    async def leave() -> None:
        waiting = asyncio.create_task(watch.until_decided("a", 10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert {} == watch._waiting

    asyncio.run(leave())


def test_a_look_that_fails_is_made_again() -> None:
    """Whoever waits doesn't notice."""
    store = Store(a="granted")
    store.faults = 1
    assert asyncio.run(ApprovalWatch(store).until_decided("a", 10))
    assert [["a"], ["a"]] == store.looks
