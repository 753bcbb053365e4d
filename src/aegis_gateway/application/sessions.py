"""Signing in to the pages: by a token, or by a link that works once.

Rule 1: what was shown is looked up in the transaction that begins the session: a link begins one session, however
        many come with it at once.
Rule 2: a secret is made here, given once to who signs in, and only its keyed hash is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aegis_gateway.application.ports import RegistryChange, RegistryStore
from aegis_gateway.domain.errors import KeyFormatError, NotPermitted
from aegis_gateway.domain.keys import check_key, key_hash, token_digest
from aegis_gateway.domain.session import KEPT_NS, SESSION_NS, Session

_SECRET_BYTES = 32
_NEW_LINK = "ask for a new one: `aegis people link PERSON` prints it"


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A session that just began, with its secret: the one time that it is seen."""

    session: Session
    secret: str


class Sessions:
    """The use cases of signing in and out."""

    def __init__(self, store: RegistryStore, pepper: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """`pepper` is the installation's secret that all secrets are hashed under."""
        self._store = store
        self._pepper = pepper
        self._random_bytes = random_bytes

    def begin_by_token(self, token: str) -> Begun:
        """Sign the person in whose token this is, for as long as it is valid and no longer than twelve hours.

        Raises:
            NotPermitted: it is no token, is not known or not valid, or its person is suspended.
        """
        digest = _digest_of(token, self._pepper)
        with self._store.change([]) as change:
            found = next((each for each in change.tokens().values() if each.hash == digest), None)
            if found is None:
                raise NotPermitted("this token is not known here; is it for another installation?")
            if not found.is_valid(change.now_ns):
                how = "was revoked" if found.revoked_ns is not None else "has expired"
                raise NotPermitted(f"this token {how}; an admin issues another: `aegis people token issue`")
            seen_by = tuple(name for name in found.behind if name != found.person)
            return self._begin(change, found.person, found.id, seen_by)

    def begin_by_link(self, link: str) -> Begun:
        """Sign in who a link was made for. It is used up by that.

        Raises:
            NotPermitted: it is not known, used, or older than ten minutes, or its person is suspended.
        """
        with self._store.change([]) as change:
            found = change.sign_in_link(secret_digest("link", link, self._pepper))
            if found is None:
                raise NotPermitted(f"this link is not known here; {_NEW_LINK}")
            if found.used_ns is not None:
                raise NotPermitted(f"this link was used already, and works once; {_NEW_LINK}")
            if change.now_ns >= found.expires_ns:
                raise NotPermitted(f"this link is too old; {_NEW_LINK}")
            change.save_sign_in_link(msgspec.structs.replace(found, used_ns=change.now_ns))
            return self._begin(change, found.person, None, found.seen_by)

    def end(self, secret: str) -> None:
        """Sign out. What is no session, or is over already, stays so."""
        with self._store.change([]) as change:
            found = change.signed_in(secret_digest("session", secret, self._pepper))
            if found is not None and found.session.ended_ns is None:
                change.save_session(msgspec.structs.replace(found.session, ended_ns=change.now_ns))

    def end_all(self, secret: str, *, and_this: bool) -> int:
        """Sign whoever has this session out everywhere else, and here too if wished; how many sessions that ended."""
        count = 0
        with self._store.change([]) as change:
            own = change.signed_in(secret_digest("session", secret, self._pepper))
            if own is None or own.why_over(change.now_ns) is not None:
                return 0
            for each in change.open_sessions(own.session.person, change.now_ns):
                if and_this or each.hash != own.session.hash:
                    change.save_session(msgspec.structs.replace(each, ended_ns=change.now_ns))
                    count += 1
        return count

    def _begin(
        self, change: RegistryChange, person_id: str, token: str | None, seen_by: tuple[str, ...]
    ) -> Begun:
        if change.people()[person_id].suspended_ns is not None:
            raise NotPermitted(
                f"`{person_id}` is suspended; an admin ends that: `aegis people resume {person_id}`"
            )
        secret = self._random_bytes(_SECRET_BYTES).hex()
        session = Session(
            hash=secret_digest("session", secret, self._pepper),
            person=person_id,
            token=token,
            seen_by=seen_by,
            begun_ns=change.now_ns,
            expires_ns=change.now_ns + SESSION_NS,
        )
        change.save_session(session)
        change.forget_sessions(change.now_ns - KEPT_NS)
        return Begun(session=session, secret=secret)


def secret_digest(kind: str, secret: str, pepper: bytes) -> bytes:
    """What is kept of a session's or a link's secret; one of a kind is none of another."""
    return key_hash(f"{kind}:{secret}", pepper)


def _digest_of(token: str, pepper: bytes) -> bytes:
    try:
        if check_key(token) != "person":
            raise NotPermitted("this is an agent's key; people's tokens begin with `aegis_person_`")
    except KeyFormatError:
        raise NotPermitted(
            "this is no person's token; was it cut or mistyped? they begin with `aegis_person_`"
        ) from None
    return key_hash(token_digest(token), pepper)
