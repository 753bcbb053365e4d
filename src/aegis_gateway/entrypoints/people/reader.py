"""Whoever looks at pages or asks the control API, and acts there."""

from __future__ import annotations

import msgspec

from aegis_gateway.application.operators import Caller
from aegis_gateway.application.sessions import secret_digest
from aegis_gateway.domain.people import Person
from aegis_gateway.entrypoints.people.visits import Visit


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever looks, and answers: their word can be that of all who stand behind it."""

    person: Person
    behind: tuple[str, ...]
    caller: Caller


def reader_of(visit: Visit) -> Reader:
    """Whoever is signed in to a page."""
    signed_in = visit.signed_in
    assert signed_in is not None, "the page is shown to people who are signed in"
    caller = Caller(session=secret_digest("session", visit.secret, visit.office.pepper), via="page")
    return Reader(person=signed_in.person, behind=signed_in.session.behind, caller=caller)
