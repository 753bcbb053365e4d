"""People who are away: recorded by themselves or by an admin, with who answers in their stead.

Rule: an absence is in the record of each tenant in which the person has a role, under all tenants' locks: an answer
      that is under way is given before it or after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.people import known_person, record_of_person, scopes_of, tenants_of
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.domain.absence import STEPS_MAX, Absence, newest_of_each
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.people import Person, may


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An absence that was recorded; `not_in` are tenants in which the deputy may not approve, so answers nothing."""

    absence: Absence
    not_in: tuple[str, ...] = ()


class Absences:
    """What people say of their absences, or admins of others'."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller) -> None:
        """`pepper` is the installation's secret that tokens are hashed under."""
        self._store = store
        self._operators = Operators(store, pepper, caller)

    def away(
        self, person_id: str | None, from_ns: int | None, until_ns: int, deputy: str | None, reason: str
    ) -> Recorded:
        """Record that somebody is away from an instant (or from now on) until another; None is whoever says so.

        Raises:
            ConfigurationError: there is no such person or deputy, or the deputy could answer nothing.
            NotPermitted: the caller is neither the person nor an admin.
        """
        with self._act() as act:
            person = _whose(act, person_id)
            begins_ns = act.change.now_ns if from_ns is None else from_ns
            if until_ns <= max(begins_ns, act.change.now_ns):
                raise ConfigurationError(
                    "the absence would be over before it begins, or is over already; write a later `--until`"
                )
            absence = Absence(
                person=person.id,
                from_ns=begins_ns,
                until_ns=until_ns,
                deputy=deputy,
                recorded_ns=_after_all(act, person),
                by=act.operator.name,
            )
            not_in = () if deputy is None else _check_deputy(act, person, absence, deputy)
            act.change.save_absence(absence)
            body: dict[str, object] = {
                "act": "away",
                "from": time_text(begins_ns),
                "until": time_text(until_ns),
                "deputy": deputy,
                "reason": reason,
            }
            record_of_person(act, person, body)
        return Recorded(absence=absence, not_in=not_in)

    def back(self, person_id: str | None) -> Absence:
        """Record that somebody is there again, or won't be away after all; the absence that this ends.

        Raises:
            ConfigurationError: there is no such person, or no absence of theirs to end.
            NotPermitted: the caller is neither the person nor an admin.
        """
        with self._act() as act:
            person = _whose(act, person_id)
            last = newest_of_each(act.change.absences()).get(person.id)
            now_ns = act.change.now_ns
            if last is None or last.until_ns <= now_ns:
                raise ConfigurationError(
                    f"`{person.id}` is not away; `aegis people away --list` shows who is"
                )
            ended = Absence(
                person=person.id,
                from_ns=now_ns,
                until_ns=now_ns,
                deputy=None,
                recorded_ns=_after_all(act, person),
                by=act.operator.name,
            )
            act.change.save_absence(ended)
            record_of_person(act, person, {"act": "back"})
        return last

    @contextmanager
    def _act(self) -> Iterator[Act]:
        with self._operators.act("people", self._store.epochs(), holds_people=True) as act:
            yield act


def _whose(act: Act, person_id: str | None) -> Person:
    """Whose absence it is, if the caller may say so."""
    if person_id is None and act.operator.person is None:
        raise ConfigurationError("say who: `aegis people away PERSON --until …`; you act without a token")
    person = known_person(act, person_id or act.operator.name)
    if act.operator.name != person.id:
        act.require(scopes_of(person))
    return person


def _after_all(act: Act, person: Person) -> int:
    """Now, but not before what was recorded of somebody already: what is recorded last holds, whatever clocks do."""
    last = newest_of_each(act.change.absences()).get(person.id)
    return max(act.change.now_ns, last.recorded_ns if last is not None else 0)


def _check_deputy(act: Act, person: Person, absence: Absence, name: str) -> tuple[str, ...]:
    """The tenants of a person in which a deputy could answer nothing.

    Raises:
        ConfigurationError: there is no such deputy, they lead back to the person, or could answer nothing anywhere.
    """
    if name == person.id:
        raise ConfigurationError(f"`{name}` can't be their own deputy; name somebody else, or nobody")
    deputy = known_person(act, name)
    tenants = tenants_of(act, person)
    not_in = tuple(tenant for tenant in tenants if not may(deputy, "approve", tenant))
    if tenants and len(not_in) == len(tenants):
        raise ConfigurationError(
            f"`{name}` may not approve in {', '.join(f'`{each}`' for each in tenants)}, so could answer nothing in "
            f"the stead of `{person.id}`; an admin gives the role: "
            f"`aegis people grant {name} approver --tenant {tenants[0]}`"
        )
    _check_circle(act, absence, name)
    return not_in


def _check_circle(act: Act, absence: Absence, deputy: str) -> None:
    known = newest_of_each(act.change.absences())
    asked: str | None = deputy
    for _ in range(STEPS_MAX):
        theirs = known.get(asked or "")
        if theirs is None or theirs.until_ns <= absence.from_ns or theirs.from_ns >= absence.until_ns:
            return
        asked = theirs.deputy
        if asked == absence.person:
            raise ConfigurationError(
                f"`{deputy}` is away in that time as well, and `{absence.person}` would answer in their stead; "
                "name somebody who is there"
            )
