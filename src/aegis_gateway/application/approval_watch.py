"""Whoever waits for a person's word: told when it was given, by one look at the store for all of a process.

Rule: a caller who waits costs a place in a list. The store is looked at once in a while for all of them together, and
      not at all while nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from aegis_gateway.domain.approval import Approval, ApprovalState
from aegis_gateway.domain.errors import AegisError

LOOK_S = 0.25
AT_ONCE_MAX = 500
"""How many requests one look asks about; those beyond wait for the next."""


class ApprovalReader(Protocol):
    """Requests, read from outside the ledger. May block."""

    def approval(self, tenant: str, approval: str) -> Approval | None:
        """One, with its answers."""

    def states(self, approvals: Collection[str]) -> dict[str, ApprovalState]:
        """How some of them stand, by id."""


class ApprovalWatch:
    """What the callers of one process wait for."""

    def __init__(self, reader: ApprovalReader) -> None:
        """Nobody waits yet."""
        self._reader = reader
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def find(self, tenant: str, approval: str) -> Approval | None:
        """How a request stands.

        Raises:
            LedgerUnavailable: it cannot be read.
        """
        return await asyncio.to_thread(self._reader.approval, tenant, approval)

    async def until_decided(self, approval: str, within_s: float) -> bool:
        """Wait until a request waits no longer, for so long at most; whether it does not."""
        decided = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(approval, set()).add(decided)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait({decided}, timeout=within_s)
            return decided.done()
        finally:
            waiting = self._waiting.get(approval, set())
            waiting.discard(decided)
            if not waiting:
                self._waiting.pop(approval, None)

    async def _look(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(LOOK_S)
                asked = list(self._waiting)[:AT_ONCE_MAX]
                try:
                    states = await asyncio.to_thread(self._reader.states, asked)
                except AegisError:
                    continue  # what can't be read now is looked at again; waiting has its own end
                for approval in asked:
                    waiting = self._waiting.pop(approval, set())
                    if states.get(approval) != "waiting":
                        for each in waiting:
                            if not each.done():
                                each.set_result(None)
                    elif waiting:
                        self._waiting.setdefault(approval, set()).update(waiting)  # last in the list now
        finally:
            self._looking = None
