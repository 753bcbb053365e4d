"""Absences: who is away, from when until when, and who answers in their place.

Rule 1: an absence is never changed; of a person's absences the one that was recorded last says how it is. Whoever comes
        back early records one that is over.
Rule 2: who stands in is followed from deputy to deputy, `STEPS_MAX` of them, and where that leads back to somebody who
        is away, nobody does. A deputy tells no more than who is asked: what anybody may do is said by their roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

STEPS_MAX = 4
"""How many deputies are passed over who are away themselves, before nobody is there."""


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


class Stead(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers in somebody's stead (`who`, nobody where it is None), and the absences that this follows from."""

    who: str | None
    by: tuple[Absence, ...] = ()


def away(person: str, absences: Iterable[Absence], now_ns: int) -> Absence | None:
    """The absence that a person is on, if they are away."""
    return all_away((each for each in absences if each.person == person), now_ns).get(person)


def newest_of_each(absences: Iterable[Absence]) -> dict[str, Absence]:
    """What was recorded last of each person, whether it holds or not."""
    newest: dict[str, Absence] = {}
    for each in absences:
        known = newest.get(each.person)
        # Of two that were recorded in the same instant, the one that was written later.
        if known is None or each.recorded_ns >= known.recorded_ns:
            newest[each.person] = each
    return newest


def all_away(absences: Iterable[Absence], now_ns: int) -> dict[str, Absence]:
    """Everybody who is away, with the absence that they are on."""
    newest = newest_of_each(absences)
    return {person: absence for person, absence in newest.items() if absence.holds(now_ns)}


def stead_of(person: str, everybody_away: Mapping[str, Absence]) -> Stead:
    """Who answers for a person: they themselves, or while they are away their deputy, or that one's deputy."""
    asked: str | None = person
    by: tuple[Absence, ...] = ()
    while asked is not None and len(by) <= STEPS_MAX:
        absence = everybody_away.get(asked)
        if absence is None:
            return Stead(who=asked, by=by)
        if absence in by:
            break
        by = (*by, absence)
        asked = absence.deputy
    return Stead(who=None, by=by)


def stands_in(person: str, absences: Iterable[Absence], now_ns: int) -> str | None:
    """Who answers for a person now: they themselves, or whoever stands in for them; None where nobody is there."""
    return stead_of(person, all_away(absences, now_ns)).who
