"""People and their tokens as rows: SQL that both stores understand as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.people import Grant, Person, Token

PEOPLE = "select person, name, grants, added_ns, suspended_ns from person order by person"
TOKENS = (
    "select token, person, hash, hint, issued_ns, expires_ns, revoked_ns, seen_by from person_token"
    " order by person, issued_ns, token"
)
_HOLD = "update people_head set changes = changes + 1"
_WRITE_PERSON = (
    "insert into person (person, name, grants, added_ns, suspended_ns) values (?, ?, ?, ?, ?)"
    " on conflict (person) do update set name = excluded.name, grants = excluded.grants,"
    " suspended_ns = excluded.suspended_ns"
)
_WRITE_TOKEN = """
insert into person_token (token, person, hash, hint, issued_ns, expires_ns, revoked_ns, seen_by)
values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (token) do update set revoked_ns = excluded.revoked_ns
"""  # noqa: S105 - a statement, no secret

_grants_decoder = msgspec.json.Decoder(tuple[Grant, ...])
_names_decoder = msgspec.json.Decoder(tuple[str, ...])
_encode = msgspec.json.Encoder().encode


def person_row(row: tuple[Any, ...]) -> Person:
    """A person from the row of `PEOPLE`."""
    person, name, grants, added_ns, suspended_ns = row
    return Person(
        id=person,
        name=name,
        added_ns=added_ns,
        grants=_grants_decoder.decode(grants),
        suspended_ns=suspended_ns,
    )


def token_row(row: tuple[Any, ...]) -> Token:
    """A token from the row of `TOKENS`."""
    token, person, digest, hint, issued_ns, expires_ns, revoked_ns, seen_by = row
    return Token(
        id=token,
        person=person,
        hash=bytes(digest),
        hint=hint,
        issued_ns=issued_ns,
        expires_ns=expires_ns,
        revoked_ns=revoked_ns,
        seen_by=_names_decoder.decode(seen_by),
    )


class PeopleRows(Statements):
    """People in a transaction."""

    def hold_people(self) -> None:
        """Let nobody else change people until this transaction ends."""
        self._do(_HOLD, ())

    def people(self) -> dict[str, Person]:
        """Everybody, by id."""
        return {person.id: person for row in self._rows(PEOPLE, ()) for person in [person_row(row)]}

    def save_person(self, person: Person) -> None:
        """Write a person, new or changed."""
        grants = _encode(person.grants).decode()
        self._do(_WRITE_PERSON, (person.id, person.name, grants, person.added_ns, person.suspended_ns))

    def tokens(self) -> dict[str, Token]:
        """Everybody's tokens, by id."""
        return {token.id: token for row in self._rows(TOKENS, ()) for token in [token_row(row)]}

    def save_token(self, token: Token) -> None:
        """Write a token, or that it is revoked."""
        values = (
            *(token.id, token.person, token.hash, token.hint),
            *(token.issued_ns, token.expires_ns, token.revoked_ns),
        )
        self._do(_WRITE_TOKEN, (*values, _encode(token.seen_by).decode()))
