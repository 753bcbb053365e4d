"""Sessions and the links that begin them as rows: SQL that both stores understand as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.people_rows import person_row, token_row
from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.session import Session, SignedIn, SignInLink

_SESSION_FIELDS = ("hash", "person", "token", "seen_by", "begun_ns", "expires_ns", "ended_ns")
_LINK_FIELDS = ("hash", "person", "seen_by", "issued_ns", "expires_ns", "used_ns")
_PERSON_FIELDS = ("person", "name", "grants", "added_ns", "suspended_ns")
_TOKEN_FIELDS = ("token", "person", "hash", "hint", "issued_ns", "expires_ns", "revoked_ns", "seen_by")


def _named(table: str, fields: tuple[str, ...]) -> str:
    return ", ".join(f"{table}.{field} as {table}_{field}" for field in fields)


SIGNED_IN = (
    f"select {_named('session', _SESSION_FIELDS)}, {_named('person', _PERSON_FIELDS)},"  # noqa: S608 - names of columns
    f" {_named('person_token', _TOKEN_FIELDS)}"
    " from session join person on person.person = session.person"
    " left join person_token on person_token.token = session.token"
    " where session.hash = ?"
)
"""A session with its person and its token. By the primary keys."""

TOKEN_HOLDER = (
    f"select {_named('person', _PERSON_FIELDS)}, {_named('person_token', _TOKEN_FIELDS)}"  # noqa: S608 - names of columns
    " from person_token join person on person.person = person_token.person"
    " where person_token.hash = ?"
)
"""A token with its person. By the index on hashes."""

OPEN_SESSIONS = (
    f"select {_named('session', _SESSION_FIELDS)}, person_token.hint"  # noqa: S608 - names of columns
    " from session left join person_token on person_token.token = session.token"
    " where session.person = ? and session.ended_ns is null and session.expires_ns > ?"
    " order by session.begun_ns desc, session.hash"
)
"""A person's sessions that have not ended, the newest first, with the hint of the token that each began with. There
are few sessions: what is over is forgotten after a day."""

_LINK = f"select {', '.join(_LINK_FIELDS)} from sign_in_link where hash = ?"  # noqa: S608 - names of columns
_WRITE_SESSION = (
    f"insert into session ({', '.join(_SESSION_FIELDS)}) values (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of columns
    " on conflict (hash) do update set ended_ns = excluded.ended_ns"
)
_WRITE_LINK = (
    f"insert into sign_in_link ({', '.join(_LINK_FIELDS)}) values (?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of columns
    " on conflict (hash) do update set used_ns = excluded.used_ns"
)

_names_decoder = msgspec.json.Decoder(tuple[str, ...])
_encode = msgspec.json.Encoder().encode


def signed_in_row(row: tuple[Any, ...]) -> SignedIn:
    """A session with its person and token, from the row of `SIGNED_IN`."""
    to_person = len(_SESSION_FIELDS)
    to_token = to_person + len(_PERSON_FIELDS)
    session = session_row(row[:to_person])
    return SignedIn(
        session=session,
        person=person_row(row[to_person:to_token]),
        token=token_row(row[to_token:]) if session.token is not None else None,
    )


def session_row(row: tuple[Any, ...]) -> Session:
    """A session by itself."""
    digest, person, token, seen_by, begun_ns, expires_ns, ended_ns = row
    return Session(
        hash=bytes(digest),
        person=person,
        token=token,
        seen_by=_names_decoder.decode(seen_by),
        begun_ns=begun_ns,
        expires_ns=expires_ns,
        ended_ns=ended_ns,
    )


def open_session_row(row: tuple[Any, ...]) -> tuple[Session, str | None]:
    """A session with the hint of its token, from a row of `OPEN_SESSIONS`."""
    return session_row(row[:-1]), row[-1]


class SessionRows(Statements):
    """Sessions in a transaction."""

    def signed_in(self, digest: bytes) -> SignedIn | None:
        """A session with its person and token, by what is kept of its secret."""
        return next((signed_in_row(row) for row in self._rows(SIGNED_IN, (digest,))), None)

    def open_sessions(self, person: str, now_ns: int) -> list[Session]:
        """A person's sessions that have not ended, the newest first."""
        return [open_session_row(row)[0] for row in self._rows(OPEN_SESSIONS, (person, now_ns))]

    def save_session(self, session: Session) -> None:
        """Write a session, or that it has ended; nothing else of one changes."""
        values = (session.hash, session.person, session.token, _encode(session.seen_by).decode())
        self._do(_WRITE_SESSION, (*values, session.begun_ns, session.expires_ns, session.ended_ns))

    def sign_in_link(self, digest: bytes) -> SignInLink | None:
        """A link by what is kept of its secret, which nobody else uses until the end."""
        for found, person, seen_by, issued_ns, expires_ns, used_ns in self._rows(
            _LINK + self._locked, (digest,)
        ):
            return SignInLink(
                hash=bytes(found),
                person=person,
                seen_by=_names_decoder.decode(seen_by),
                issued_ns=issued_ns,
                expires_ns=expires_ns,
                used_ns=used_ns,
            )
        return None

    def save_sign_in_link(self, link: SignInLink) -> None:
        """Write a link, or that it was used; nothing else of one changes."""
        values = (link.hash, link.person, _encode(link.seen_by).decode())
        self._do(_WRITE_LINK, (*values, link.issued_ns, link.expires_ns, link.used_ns))

    def forget_sessions(self, before_ns: int) -> None:
        """Delete sessions and links whose time was over before an instant."""
        self._do("delete from session where expires_ns < ?", (before_ns,))
        self._do("delete from sign_in_link where expires_ns < ?", (before_ns,))
