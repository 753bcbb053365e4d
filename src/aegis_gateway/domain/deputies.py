"""Who may answer a request in whose stead, while people are away. Pure: people and absences come in as they are now.

Rule 1: in somebody's stead answers who stands in for them and may approve in the tenant. One person has one word,
        however many they stand in for; and nobody's word is given twice, by them and in their stead.
Rule 2: whoever wants the word doesn't choose who gives it: nothing is said in the stead of who asked or stands behind
        it, nor where one of those named a deputy, on the way from the one who is away to the one who answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from aegis_gateway.domain.absence import Absence, Stead, all_away, stead_of
from aegis_gateway.domain.approval import Approval, refusal_to_answer
from aegis_gateway.domain.moment import minute_text
from aegis_gateway.domain.people import Person, may


class Attendance(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who has an account, by id, and who of them is away."""

    people: Mapping[str, Person]
    away: Mapping[str, Absence]


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody's word counts for: which wants, and in whose stead, as far as it is more than their own.

    `why_none` says why nothing can be said in the stead of somebody whom they stand in for.
    """

    meets: tuple[int, ...]
    in_stead_of: tuple[str, ...] = ()
    why_none: str = ""


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is asked and away until an instant, and who may answer in their stead; nobody where it is None."""

    person: str
    until_ns: int
    deputy: str | None

    def __str__(self) -> str:
        """`dan for ben, who is away until 2026-12-01 08:00 UTC`."""
        return f"{self.deputy or 'nobody'} for {self.person}, who is away until {minute_text(self.until_ns)}"


def attendance_of(people: Mapping[str, Person], absences: Iterable[Absence], now_ns: int) -> Attendance:
    """Who is there at an instant, and who isn't."""
    return Attendance(people=people, away=all_away(absences, now_ns))


def word_of(approval: Approval, person: Person | None, attendance: Attendance) -> Word:
    """What somebody's word on a request counts for now. Nobody in particular (`None`) stands in for nobody."""
    own = approval.route.met_by(person, approval.tenant, approval.level)
    if person is None:
        return Word(meets=own)
    meets, in_stead_of, why = set(own), [], ""
    for absent, stead in _stood_in_for(person.id, attendance):
        theirs = set(approval.route.met_by(absent, approval.tenant, approval.level)) - set(own)
        if not theirs:
            continue
        refusal = _why_not(approval, absent, stead, person)
        if refusal:
            why = refusal
            continue
        meets |= theirs
        in_stead_of.append(absent.id)
    return Word(meets=tuple(sorted(meets)), in_stead_of=tuple(in_stead_of), why_none=why if not meets else "")


def missing(approval: Approval, attendance: Attendance) -> tuple[Missing, ...]:
    """Who of those that a request asks is away, and who may answer in their stead."""
    found = []
    for name, absence in sorted(attendance.away.items()):
        absent = attendance.people.get(name)
        if absent is None or not approval.route.met_by(absent, approval.tenant, approval.level):
            continue
        stead = stead_of(name, attendance.away)
        deputy = attendance.people.get(stead.who or "")
        can = deputy is not None and not _why_not(approval, absent, stead, deputy)
        found.append(
            Missing(person=name, until_ns=absence.until_ns, deputy=deputy.id if deputy and can else None)
        )
    return tuple(found)


def is_unattended(approval: Approval, attendance: Attendance) -> bool:
    """Whether a request that waits can't be granted by those who are there, because others are away."""
    there = [
        set(word.meets)
        for person in attendance.people.values()
        if person.id not in attendance.away
        and (word := word_of(approval, person, attendance)).meets
        and not refusal_to_answer(approval, person.id, (person.id,), word.meets)
    ]
    away = [
        set(approval.route.met_by(attendance.people[name], approval.tenant, approval.level))
        for name in attendance.away
        if name in attendance.people
    ]
    given = [set(answer.meets) for answer in approval.answers if answer.kind == "grant"]
    return any(
        sum(number in meets for meets in (*given, *there)) < want.needs
        and any(number in meets for meets in away)
        for number, want in enumerate(approval.route.wants)
    )


def _stood_in_for(name: str, attendance: Attendance) -> Iterator[tuple[Person, Stead]]:
    for absent in sorted(attendance.away):
        stead = stead_of(absent, attendance.away)
        if stead.who == name and absent in attendance.people:
            yield attendance.people[absent], stead


def _why_not(approval: Approval, absent: Person, stead: Stead, deputy: Person) -> str:
    """Why a deputy may not answer in somebody's stead; empty if they may."""
    if not may(deputy, "approve", approval.tenant):
        return f"in the stead of `{absent.id}` answers only who may approve in `{approval.tenant}` themselves"
    barred = {approval.requester, *approval.behind}
    chose = barred & {deputy.id, *(name for each in stead.by for name in (each.person, each.by))}
    if chose:
        return f"`{min(chose)}` stands behind the request, and is no deputy for it, nor names one"
    if any(answer.speaks_for(absent.id) for answer in approval.answers):
        return f"the word of `{absent.id}` was given already"
    return ""
