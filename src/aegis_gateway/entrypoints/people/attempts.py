"""How often somebody may try to sign in.

Tokens and links can't be guessed; this keeps whoever tries all the same from having the database look each up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

ATTEMPTS = 10
WINDOW_NS = 60 * 1_000_000_000
_CALLERS_MAX = 4_096


class Attempts:
    """Failed attempts by address, in one worker."""

    def __init__(
        self, now_ns: Callable[[], int], attempts: int = ATTEMPTS, window_ns: int = WINDOW_NS
    ) -> None:
        """So many within so long."""
        self._now_ns = now_ns
        self._attempts = attempts
        self._window_ns = window_ns
        self._failed: OrderedDict[str, list[int]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """How many seconds somebody has to wait before they may try again; 0 where they may."""
        with self._lock:
            failed = self._recent(address)
            if len(failed) < self._attempts:
                return 0
            return max(1, -(-(failed[0] + self._window_ns - self._now_ns()) // 1_000_000_000))

    def fail(self, address: str) -> None:
        """Somebody tried in vain. Of too many callers the one that was heard of least is forgotten."""
        with self._lock:
            self._failed[address] = [*self._recent(address), self._now_ns()][-self._attempts :]
            self._failed.move_to_end(address)
            if len(self._failed) > _CALLERS_MAX:
                self._failed.popitem(last=False)

    def _recent(self, address: str) -> list[int]:
        since_ns = self._now_ns() - self._window_ns
        return [at_ns for at_ns in self._failed.get(address, ()) if at_ns > since_ns]
