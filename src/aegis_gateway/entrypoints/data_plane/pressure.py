"""Pressure: whether a worker has more to do than it can, told by how late its event loop or the ledger is.

The number of calls under way says nothing of it: thousands that wait for a slow model cost nothing. Lateness that
lasts does: each further call makes all of them slower. A burst is let through (`PATIENCE_S`); when lateness comes back
soon after calls were refused, it is believed sooner (`SHORT_PATIENCE_S`). After CoDel (RFC 8289). Under pressure a few
calls (`CALLS_UNDER_PRESSURE_MAX`) still go through: refusing all of them would let those who ask again at once keep the
loop late for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK_S = 0.02
LATE_S = 0.1
PATIENCE_S = 3.0
SHORT_PATIENCE_S = 0.1
MEMORY_S = 5.0
CALLS_UNDER_PRESSURE_MAX = 256


class Pressure:
    """Watches. The clock is the loop's; `note` is what a tick does, and needs no loop."""

    def __init__(self) -> None:
        """Start calm."""
        self._late_since: float | None = None
        self._refused_until = float("-inf")
        self.is_high = False

    def watch(self, loop: asyncio.AbstractEventLoop, ledger_wait_s: Callable[[], float]) -> None:
        """Look at a loop from now on, and at how long the ledger's oldest open question has waited."""
        self._tick(loop, loop.time(), ledger_wait_s)

    def note(self, now_s: float, late_s: float) -> None:
        """Take note of how late the later of the two is."""
        if late_s < LATE_S:
            self._late_since, self.is_high = None, False
            return
        if self._late_since is None:
            self._late_since = now_s
        was_high_lately = now_s - self._refused_until < MEMORY_S
        patience_s = SHORT_PATIENCE_S if was_high_lately else PATIENCE_S
        self.is_high = self.is_high or now_s - self._late_since >= patience_s
        if self.is_high:
            self._refused_until = now_s

    def _tick(
        self, loop: asyncio.AbstractEventLoop, due_s: float, ledger_wait_s: Callable[[], float]
    ) -> None:
        now_s = loop.time()
        self.note(now_s, max(now_s - due_s, ledger_wait_s()))
        loop.call_at(now_s + TICK_S, self._tick, loop, now_s + TICK_S, ledger_wait_s)
