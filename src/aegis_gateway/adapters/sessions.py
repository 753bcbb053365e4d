"""Who shows a session's cookie or a token, read from outside a transaction by pages that only show something."""

from __future__ import annotations

from aegis_gateway.adapters.people_rows import person_row, token_row
from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.session_rows import (
    OPEN_SESSIONS,
    SIGNED_IN,
    TOKEN_HOLDER,
    open_session_row,
    signed_in_row,
)
from aegis_gateway.domain.people import Person, Token
from aegis_gateway.domain.session import Session, SignedIn

_PERSON_COLUMNS = 5


class StoredSessions:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def signed_in(self, digest: bytes) -> SignedIn | None:
        """A session with its person and token, by what is kept of its secret."""
        rows = self._query(SIGNED_IN, (digest,))
        return next((signed_in_row(tuple(row.values())) for row in rows), None)

    def open_of(self, person: str, now_ns: int) -> list[tuple[Session, str | None]]:
        """A person's sessions that have not ended, the newest first, with the hint of the token of each."""
        rows = self._query(OPEN_SESSIONS, (person, now_ns))
        return [open_session_row(tuple(row.values())) for row in rows]

    def token_holder(self, digest: bytes) -> tuple[Person, Token] | None:
        """A token with its person, by what is kept of its secret."""
        for row in self._query(TOKEN_HOLDER, (digest,)):
            values = tuple(row.values())
            return person_row(values[:_PERSON_COLUMNS]), token_row(values[_PERSON_COLUMNS:])
        return None

    def has_people(self) -> bool:
        """Whether anybody has an account."""
        return bool(self._query("select 1 as there from person limit 1"))
