"""Who acts on an installation, and the record of what they did.

Rule 1: who acts is found out in the transaction of the act: who was suspended a moment ago does nothing more.
Rule 2: while nobody has an account, whoever can open the store acts under their name on the machine, marked as such;
        from the first account on, nothing is done without a person's token.
Rule 3: an act is in the record of every tenant that it concerns, with the name of whoever did it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from aegis_gateway.application.ports import RegistryChange, RegistryStore
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.errors import KeyFormatError, NotActing, NotPermitted
from aegis_gateway.domain.keys import check_key, key_hash, token_digest
from aegis_gateway.domain.people import (
    ALL_TENANTS,
    LOCAL,
    PERMISSION_WORDS,
    PERMISSIONS,
    Permission,
    Person,
    Token,
    may,
)

_HOW = "set AEGIS_TOKEN to one, or to file:PATH; an admin issues them: `aegis people token issue PERSON`"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever calls, as they come: their name on this machine, and their token, if they have one.

    `session` is what is kept of the secret of who is signed in to the pages; then none of the others counts. A door
    that told by itself who somebody is (Slack's verified user) brings the `person`: they may what their roles let them
    do, and no more. `via` is the way that they came.
    """

    local_name: str = ""
    token: str | None = None
    session: bytes | None = None
    person: str | None = None
    via: str = "cli"


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever acts: the name in the record (a person's id, or `local:NAME`), and everybody whose word it can be."""

    name: str
    behind: tuple[str, ...]
    person: Person | None = None


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One act under way: what it is, its transaction, and whoever does it."""

    permission: Permission
    change: RegistryChange
    operator: Operator

    def require(self, tenants: Iterable[str]) -> None:
        """Go on only if whoever acts may do this in all of some tenants.

        Raises:
            NotPermitted: they may not; the message says which role is missing, and where.
        """
        if self.operator.person is not None:
            _refuse_missing(self.operator.person, self.permission, tenants)

    def record(self, tenants: Iterable[str], entry_type: str, body: dict[str, object]) -> None:
        """Add an entry to each tenant's record and raise its epoch."""
        recording = RegistryRecording(self.change, self.operator.name, raises_epoch=True)
        for tenant in tenants:
            recording.enter(tenant, None, entry_type, body)


class Operators:
    """Lets one caller act, if they may."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller) -> None:
        """`pepper` is the installation's secret that tokens are hashed under."""
        self._store = store
        self._pepper = pepper
        self._caller = caller

    @contextmanager
    def act(
        self,
        permission: Permission,
        held: Iterable[str],
        *,
        holds_people: bool = False,
        may_recover: bool = False,
    ) -> Iterator[Act]:
        """Hold some tenants, and commit at the end of the block. Where it is allowed has to be asked (`require`).

        `holds_people`: people don't change meanwhile. `may_recover`: also without a token, while no admin has a valid
        one.

        Raises:
            NotPermitted: a token is missing, unknown or not valid.
            LedgerUnavailable: the transaction could not be made durable.
        """
        with self._store.change(held) as change:
            if holds_people:
                change.hold_people()
            operator = self._identify(change, permission, may_recover=may_recover)
            yield Act(permission=permission, change=change, operator=operator)

    def _identify(self, change: RegistryChange, permission: Permission, *, may_recover: bool) -> Operator:
        if self._caller.session is not None:
            return _signed_in(change, self._caller.session)
        people = change.people()
        if self._caller.person is not None:
            return _known_person(people, self._caller.person)
        if self._caller.token is None:
            if people and not (may_recover and not has_acting_admin(change)):
                roles = " or ".join(PERMISSIONS[permission])
                raise NotPermitted(
                    f"people are registered here, so this needs the token of one who is {roles}; {_HOW}"
                )
            return Operator(name=f"{LOCAL}:{self._caller.local_name}", behind=(LOCAL,))
        token = _known_token(change, self._caller.token, self._pepper)
        operator = _known_person(people, token.person)
        return msgspec.structs.replace(operator, behind=token.behind)


def _signed_in(change: RegistryChange, session: bytes) -> Operator:
    found = change.signed_in(session)
    over = "you are not signed in" if found is None else found.why_over(change.now_ns)
    if found is None or over is not None:
        raise NotPermitted(f"{over}")
    return Operator(name=found.person.id, behind=found.session.behind, person=found.person)


def has_acting_admin(change: RegistryChange) -> bool:
    """Whether there is an admin of everything with a valid token."""
    people = change.people()
    return any(
        token.is_valid(change.now_ns) and may(people[token.person], "people", ALL_TENANTS)
        for token in change.tokens().values()
    )


def _known_person(people: dict[str, Person], name: str) -> Operator:
    person = people.get(name)
    if person is None:
        raise NotActing(f"there is no person `{name}` here; an admin adds them: `aegis people add`")
    if person.suspended_ns is not None:
        raise NotActing(f"`{person.id}` is suspended; an admin ends that: `aegis people resume {person.id}`")
    return Operator(name=person.id, behind=(person.id,), person=person)


def _known_token(change: RegistryChange, secret: str, pepper: bytes) -> Token:
    try:
        if check_key(secret) != "person":
            raise NotPermitted(
                f"AEGIS_TOKEN has an agent's key; people's tokens begin with `aegis_person_`: {_HOW}"
            )
    except KeyFormatError:
        raise NotPermitted(f"AEGIS_TOKEN has no person's token; was it cut or mistyped? {_HOW}") from None
    stored = key_hash(token_digest(secret), pepper)
    token = next((each for each in change.tokens().values() if hmac.compare_digest(each.hash, stored)), None)
    if token is None:
        raise NotPermitted(f"the token in AEGIS_TOKEN is not known here; {_HOW}")
    if not token.is_valid(change.now_ns):
        how = "is revoked" if token.revoked_ns is not None else "has expired"
        raise NotPermitted(f"the token in AEGIS_TOKEN {how} (`{token.id}` of `{token.person}`); {_HOW}")
    return token


def _refuse_missing(person: Person, permission: Permission, tenants: Iterable[str]) -> None:
    missing = [tenant for tenant in tenants if not may(person, permission, tenant)]
    if not missing:
        return
    roles = PERMISSIONS[permission]
    where = (
        "in all tenants" if ALL_TENANTS in missing else "in " + ", ".join(f"`{tenant}`" for tenant in missing)
    )
    scope = "'*'" if ALL_TENANTS in missing else missing[0]
    raise NotPermitted(
        f"`{person.id}` may not {PERMISSION_WORDS[permission]} {where}: that needs the role {' or '.join(roles)}; "
        f"an admin gives it: `aegis people grant {person.id} {roles[-1]} --tenant {scope}`"
    )
