"""Absences: who is away, from when until when, and who answers in their place.

Rule 1: an absence is never changed; of a person's absences the one that was recorded last says how it is. Whoever comes
        back early records one that is over.
Rule 2: who stands in is followed from deputy to deputy, and where that leads back to somebody who is away, nobody does.
        A deputy tells no more than who is asked: what anybody may do is said by their roles alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """That a person is away from an instant until another (not at it), as `by` recorded it."""

    person: str
    from_ns: int
    until_ns: int
    deputy: str | None
    recorded_ns: int
    by: str

    def holds(self, now_ns: int) -> bool:
        """Whether the person is away at an instant, by this alone."""
        return self.from_ns <= now_ns < self.until_ns


def away(person: str, absences: Iterable[Absence], now_ns: int) -> Absence | None:
    """The absence that a person is on, if they are away."""
    theirs = [each for each in absences if each.person == person]
    # Of two that were recorded in the same instant, the one that was written later.
    newest = max(enumerate(theirs), key=lambda item: (item[1].recorded_ns, item[0]), default=None)
    return newest[1] if newest is not None and newest[1].holds(now_ns) else None


def stands_in(person: str, absences: Iterable[Absence], now_ns: int) -> str | None:
    """Who answers for a person now: they themselves, or while they are away their deputy, or that one's deputy; None
    where nobody is there.
    """
    known = tuple(absences)
    seen: set[str] = set()
    asked: str | None = person
    while asked is not None and asked not in seen:
        absence = away(asked, known, now_ns)
        if absence is None:
            return asked
        seen.add(asked)
        asked = absence.deputy
    return None
