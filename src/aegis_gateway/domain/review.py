"""Reviews: somebody looked at how agents spend and what holds them, said what came of it, and when to look again."""

from __future__ import annotations

import msgspec

REVIEW = "review"
"""The type of the entries about reviews."""

QUARTER_NS = 91 * 86_400 * 1_000_000_000
"""When to look again, where nobody says: thirteen weeks later, on the same weekday."""

NOTE_CHARACTERS_MAX = 1_000


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """One review: when, by whom, what came of it, and when the next one is due; the place of its entry names it."""

    sequence: int
    at_ns: int
    by: str
    note: str
    next_ns: int

    def is_overdue(self, now_ns: int) -> bool:
        """Whether the next one should have been."""
        return now_ns >= self.next_ns
