"""Who is away, and who answers in their place."""

from __future__ import annotations

from aegis_gateway.domain.absence import Absence, away, stands_in

DAY = 86_400_000_000_000


def absence(
    person: str, deputy: str | None, *, start: int = 0, end: int = 10 * DAY, recorded: int = 0
) -> Absence:
    """An absence of ten days, recorded as it begins."""
    return Absence(
        person=person, from_ns=start, until_ns=end, deputy=deputy, recorded_ns=recorded, by="local:test"
    )


def test_whoever_is_there_answers() -> None:
    """Before and after an absence, and when only others are away."""
    absences = [absence("ana", "ben", start=DAY, end=2 * DAY)]
    assert ["ana", "ben", "ana", "ben"] == [
        stands_in(person, absences, at)
        for person, at in (("ana", 0), ("ana", DAY), ("ana", 2 * DAY), ("ben", DAY))
    ]


def test_a_deputy_who_is_away_has_a_deputy() -> None:
    """It is followed as far as it leads, and to nobody where that is a circle or ends."""
    chain = [absence("ana", "ben"), absence("ben", "cleo")]
    assert "cleo" == stands_in("ana", chain, DAY)
    assert stands_in("ana", [*chain, absence("cleo", "ana")], DAY) is None
    assert stands_in("ana", [absence("ana", None)], DAY) is None
    assert stands_in("ana", [absence("ana", "ana")], DAY) is None


def test_the_last_word_on_a_person_counts() -> None:
    """Whoever is back early is back; of two at once, the one that was written later."""
    left = absence("ana", "ben", recorded=1)
    back = absence("ana", None, end=2 * DAY, recorded=2)
    assert "ana" == stands_in("ana", [back, left], 3 * DAY)
    again = absence("ana", "cleo", recorded=1)
    assert "cleo" == stands_in("ana", [left, again], DAY)
    assert again == away("ana", [left, again], DAY)
