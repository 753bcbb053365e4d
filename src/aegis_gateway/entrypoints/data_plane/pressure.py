"""Pressure: whether a worker has more to do than it can, told by how late its event loop is and how long the ledger
lets it wait.

The number of calls under way says nothing of it: thousands that wait for a slow model cost nothing. Lateness that
lasts does: each further call makes all of them slower. A burst is let through (`PATIENCE_S`); soon after calls were
refused, less lateness is believed sooner (`LATE_AGAIN_S`, `SHORT_PATIENCE_S`). After CoDel (RFC 8289). Under pressure
a call still goes in while few questions are open at the ledger (`QUESTIONS_UNDER_PRESSURE_MAX`): a slow disk alone
is no reason to refuse, and refusing all would let those who ask again at once keep the loop late for ever.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK_S = 0.02
LATE_S = 0.06
LATE_AGAIN_S = 0.03
"""A call goes through the loop about six times and through the ledger twice, and is late each time."""
PATIENCE_S = 3.0
SHORT_PATIENCE_S = 0.1
MEMORY_S = 5.0
CALM_S = 0.25
QUESTIONS_UNDER_PRESSURE_MAX = 128


class LedgerWait(Protocol):
    """What is known of the ledger's queue."""

    @property
    def open_questions(self) -> int:
        """How many questions are open."""

    def wait_s(self) -> float:
        """How long the ledger lets wait now."""


class Pressure:
    """Watches. The clock is the loop's; `note` is what a tick does, and needs no loop."""

    def __init__(self) -> None:
        """Start calm."""
        self._late_since = self._late_at = float("-inf")
        self._refused_until = float("-inf")
        self._ledger: LedgerWait | None = None
        self.is_high = False

    @property
    def refuses(self) -> bool:
        """Whether one more call would be too much."""
        if not self.is_high:
            return False
        return self._ledger is None or self._ledger.open_questions >= QUESTIONS_UNDER_PRESSURE_MAX

    def watch(self, loop: asyncio.AbstractEventLoop, ledger: LedgerWait) -> None:
        """Look at a loop and a ledger from now on."""
        self._ledger = ledger
        self._tick(loop, loop.time(), ledger)

    def note(self, now_s: float, late_s: float) -> None:
        """Take note of how late the later of the two is. Lateness lasts through a short calm (`CALM_S`)."""
        was_high_lately = now_s - self._refused_until < MEMORY_S
        if late_s < (LATE_AGAIN_S if was_high_lately else LATE_S):
            self.is_high = False
            return
        if now_s - self._late_at >= CALM_S:
            self._late_since = now_s
        self._late_at = now_s
        patience_s = SHORT_PATIENCE_S if was_high_lately else PATIENCE_S
        self.is_high = now_s - self._late_since >= patience_s
        if self.is_high:
            self._refused_until = now_s

    def _tick(self, loop: asyncio.AbstractEventLoop, due_s: float, ledger: LedgerWait) -> None:
        now_s = loop.time()
        self.note(now_s, max(now_s - due_s, ledger.wait_s()))
        loop.call_at(now_s + TICK_S, self._tick, loop, now_s + TICK_S, ledger)
