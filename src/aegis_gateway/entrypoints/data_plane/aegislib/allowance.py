"""How much telemetry an agent may send: each has an allowance of its own, so that none crowds out another's calls."""

from __future__ import annotations

from collections.abc import Hashable

AGENTS_MAX = 10_000


class Allowance:
    """Units that come back with time, up to a burst. In memory of one worker, which is what it protects."""

    def __init__(self, per_s: float, burst: int) -> None:
        """Give so many units a second, and not more than `burst` at once."""
        self._per_s = per_s
        self._burst = burst
        self._left: dict[Hashable, tuple[float, float]] = {}

    def takes(self, whose: Hashable, units: int, now_s: float) -> bool:
        """Take units, if that many are left."""
        left, since_s = self._left.get(whose, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        is_enough = left >= units
        if whose not in self._left and len(self._left) >= AGENTS_MAX:
            self._forget_who_has_all(now_s)
        self._left[whose] = (left - units if is_enough else left, now_s)
        return is_enough

    def _forget_who_has_all(self, now_s: float) -> None:
        """Forget whose allowance is whole again, or everybody's where that is nobody's."""
        self._left = {
            whose: (left, since_s)
            for whose, (left, since_s) in self._left.items()
            if left + (now_s - since_s) * self._per_s < self._burst
        }
        if len(self._left) >= AGENTS_MAX:
            self._left.clear()
