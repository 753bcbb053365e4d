"""Sessions: a person signed in to the pages, and the links by which one signs in once.

Rule 1: only hashes are kept of what a browser shows (a cookie) and of what a link holds.
Rule 2: a session gives the word of who signed in, and of everybody who can have seen what they signed in with: the
        token's `behind`, or whoever issued the link (`domain/people.py`, rule 3).
Rule 3: a session is worth no more than what it began with: it ends with its token, with its person's suspension, and
        with its time, whichever comes first.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.people import Person, Token

SESSION_NS = 12 * 3_600 * 1_000_000_000
LINK_NS = 10 * 60 * 1_000_000_000
KEPT_NS = 24 * 3_600 * 1_000_000_000
"""How long what is over is kept, so that who comes with it is told so."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A person signed in; `token` is what they did it with, None for a link.

    `seen_by` are others whose word it can be.
    """

    hash: bytes
    person: str
    token: str | None
    seen_by: tuple[str, ...]
    begun_ns: int
    expires_ns: int
    ended_ns: int | None = None

    @property
    def behind(self) -> tuple[str, ...]:
        """Everybody whose word it can be."""
        return tuple(sorted({self.person, *self.seen_by}))


class SignInLink(msgspec.Struct, frozen=True, kw_only=True):
    """What a person signs in with once, for ten minutes; `seen_by` are others who can have used it."""

    hash: bytes
    person: str
    seen_by: tuple[str, ...]
    issued_ns: int
    expires_ns: int
    used_ns: int | None = None


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A session with its person, and the token that it began with."""

    session: Session
    person: Person
    token: Token | None = None

    def why_over(self, now_ns: int) -> str | None:
        """Why nothing may be done with it any more, in words for who signed in; None while something may."""
        if self.session.ended_ns is not None:
            return "you have signed out"
        if self.person.suspended_ns is not None:
            return (
                f"`{self.person.id}` is suspended; an admin ends that: `aegis people resume {self.person.id}`"
            )
        if self.token is not None and not self.token.is_valid(now_ns):
            how = "was revoked" if self.token.revoked_ns is not None else "has expired"
            return f"the token that you signed in with {how}; sign in with another"
        if now_ns >= self.session.expires_ns:
            return "you were signed in for as long as that lasts; sign in again"
        return None
