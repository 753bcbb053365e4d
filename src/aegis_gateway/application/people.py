"""What admins do to people: add them, give and take roles, suspend, issue and revoke tokens.

Rule 1: each is one transaction that holds all people and all tenants, with an entry in the record of each tenant in
        which the person has a role.
Rule 2: the first person is an admin everywhere, and from the first token on there is always such an admin with a valid
        token; where time has left none, whoever can open the store may issue one to an admin, and nothing else.
Rule 3: a token is shown once, or never: whoever is to have it may make it and have only its digest registered. That
        others can have seen a token is kept with it (`domain/people.py`, rule 3); and where two people are, or ever
        were, needed for a change, also who registered it unseen: they could have made up its person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec

from aegis_gateway.application.operators import Act, Caller, Operators, has_acting_admin
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.application.sessions import secret_digest
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.keys import key_hash, key_hint, new_key, token_digest
from aegis_gateway.domain.people import ALL_TENANTS, Grant, Person, Token, are_two, is_person_id, may
from aegis_gateway.domain.session import LINK_NS, SignInLink

_LINK_BYTES = 32


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was just registered, with its secret, if it was made here: the one time that it is seen."""

    token: Token
    secret: str | None = None


class IssuedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that was just made, with its secret: the one time that it is seen."""

    link: SignInLink
    secret: str


class OwnToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that somebody made for themselves: what of it others may see."""

    digest: str
    hint: str


class People:
    """The use cases about people. Each is done only if the caller may, and recorded in their name."""

    def __init__(
        self,
        store: RegistryStore,
        pepper: bytes,
        random_bytes: Callable[[int], bytes],
        caller: Caller,
        *,
        has_four_eyes: bool,
    ) -> None:
        """`pepper` is the installation's secret that tokens are hashed under; `has_four_eyes`: in some tenant."""
        self._store = store
        self._pepper = pepper
        self._random_bytes = random_bytes
        self._has_four_eyes = has_four_eyes
        self._operators = Operators(store, pepper, caller)

    def add(self, person_id: str, name: str, grants: Iterable[Grant]) -> Person:
        """Give somebody an account.

        Raises:
            ConfigurationError: the id is taken or is none, or the first person would be no admin everywhere.
        """
        if not is_person_id(person_id):
            raise ConfigurationError(
                f"`{person_id}` is not a person's id; write a name or address of up to 64 small letters, digits "
                "and `.`, `_`, `-`, `+`, `@`, as in ana or ana@northbank.example"
            )
        with self._act() as act:
            people = act.change.people()
            if person_id in people:
                raise ConfigurationError(
                    f"there is a person `{person_id}` already, and ids are never given twice; choose another"
                )
            person = Person(
                id=person_id, name=name, added_ns=act.change.now_ns, grants=tuple(sorted(set(grants)))
            )
            _check_tenants(act, person.grants)
            act.require(scopes_of(person))
            if not people and not may(person, "people", ALL_TENANTS):
                raise ConfigurationError(
                    "the first person must be an admin everywhere, so that somebody can add the others; "
                    f"write `aegis people add {person_id} --role admin --tenant '*'`"
                )
            _save(act, person, {"act": "add", "roles": _roles(person)})
        return person

    def grant(self, person_id: str, grant: Grant) -> Person:
        """Give somebody a role.

        Raises:
            ConfigurationError: there is no such person or tenant.
        """
        with self._act() as act:
            person = known_person(act, person_id)
            _check_tenants(act, [grant])
            act.require([grant.tenant])
            granted = msgspec.structs.replace(person, grants=tuple(sorted({*person.grants, grant})))
            _save(act, granted, {"act": "grant", **_grant_record(grant)})
        return granted

    def withdraw(self, person_id: str, grant: Grant) -> Person:
        """Take a role from somebody.

        Raises:
            ConfigurationError: there is no such person, or they don't have it.
            NotPermitted: no admin would be left.
        """
        with self._act() as act:
            person = known_person(act, person_id)
            if grant not in person.grants:
                has = ", ".join(map(str, person.grants)) or "no role"
                raise ConfigurationError(f"`{person_id}` is not {grant}; they have: {has}")
            act.require([grant.tenant])
            kept = tuple(each for each in person.grants if each != grant)
            left = msgspec.structs.replace(person, grants=kept)
            with _keeps_an_admin(act):
                # In the records of those who were concerned before.
                _save(act, left, {"act": "withdraw", **_grant_record(grant)}, concerned=person)
        return left

    def suspend(self, person_id: str) -> Person:
        """Make all of a person's tokens worth nothing, until that is ended.

        Raises:
            ConfigurationError: there is no such person.
            NotPermitted: no admin would be left.
        """
        with self._act() as act:
            person = known_person(act, person_id)
            act.require(scopes_of(person))
            suspended = msgspec.structs.replace(person, suspended_ns=person.suspended_ns or act.change.now_ns)
            with _keeps_an_admin(act):
                _save(act, suspended, {"act": "suspend"})
        return suspended

    def resume(self, person_id: str) -> Person:
        """End a suspension.

        Raises:
            ConfigurationError: there is no such person.
        """
        with self._act() as act:
            person = known_person(act, person_id)
            act.require(scopes_of(person))
            resumed = msgspec.structs.replace(person, suspended_ns=None)
            _save(act, resumed, {"act": "resume"})
        return resumed

    def issue_token(
        self, person_id: str, *, expires_in_ns: int | None = None, own: OwnToken | None = None
    ) -> IssuedToken:
        """Register a token, a new one or one that the person made. Everybody may have more of their own.

        Raises:
            ConfigurationError: there is no such person, or the token is registered already.
        """
        with self._act(may_recover=True) as act:
            person = known_person(act, person_id)
            if act.operator.person is None and not may(person, "people", ALL_TENANTS):
                raise NotPermitted(
                    f"no admin has a valid token, and `{person_id}` is no admin everywhere; "
                    "issue a token to one who is, who can issue the others"
                )
            if act.operator.name != person_id:
                act.require(scopes_of(person))
            secret = None if own is not None else new_key(self._random_bytes, "person")
            token = self._token(act, person_id, expires_in_ns, own or _seen(secret or ""))
            if secret is None and act.operator.name != person_id and not self._counts_registrar(act):
                token = msgspec.structs.replace(token, seen_by=())
            if any(each.hash == token.hash for each in act.change.tokens().values()):
                raise ConfigurationError(
                    "this token is registered already; make another: `aegis people token new`"
                )
            act.change.save_token(token)
            record_of_person(
                act, person, {"act": "issue_token", "token": token.id, "seen_by": list(token.seen_by)}
            )
        return IssuedToken(token=token, secret=secret)

    def issue_link(self, person_id: str) -> IssuedLink:
        """Make a link by which a person signs in to the pages once. Everybody may make their own.

        Raises:
            ConfigurationError: there is no such person.
        """
        with self._act() as act:
            person = known_person(act, person_id)
            if act.operator.name != person_id:
                act.require(scopes_of(person))
            secret = self._random_bytes(_LINK_BYTES).hex()
            link = SignInLink(
                hash=secret_digest("link", secret, self._pepper),
                person=person_id,
                seen_by=tuple(name for name in act.operator.behind if name != person_id),
                issued_ns=act.change.now_ns,
                expires_ns=act.change.now_ns + LINK_NS,
            )
            act.change.save_sign_in_link(link)
            record_of_person(act, person, {"act": "issue_link", "seen_by": list(link.seen_by)})
        return IssuedLink(link=link, secret=secret)

    def revoke_token(self, token_id: str) -> Token:
        """Make a token worth nothing.

        Raises:
            ConfigurationError: there is no such token.
            NotPermitted: it is the last one with which an admin can act.
        """
        with self._act() as act:
            token = act.change.tokens().get(token_id)
            if token is None:
                raise ConfigurationError(
                    f"there is no token `{token_id}`; `aegis people list` shows those there are"
                )
            person = known_person(act, token.person)
            if act.operator.name != person.id:
                act.require(scopes_of(person))
            revoked = msgspec.structs.replace(token, revoked_ns=token.revoked_ns or act.change.now_ns)
            with _keeps_an_admin(act):
                act.change.save_token(revoked)
            record_of_person(act, person, {"act": "revoke_token", "token": token_id})
        return revoked

    @contextmanager
    def _act(self, *, may_recover: bool = False) -> Iterator[Act]:
        """Hold all people and all tenants."""
        with self._operators.act(
            "people", self._store.epochs(), holds_people=True, may_recover=may_recover
        ) as act:
            yield act

    def _counts_registrar(self, act: Act) -> bool:
        """Whether who registers a token unseen counts as somebody whose word it can be.

        Once there were proposals it stays so: nobody is made up while four eyes is off for a moment. But the first
        person besides them has to come from somewhere; whoever that was, suspended or not, was the only one.
        """
        is_used = self._has_four_eyes or act.change.next_proposal() > 1
        return is_used and any(
            are_two(token.behind, act.operator.behind) for token in act.change.tokens().values()
        )

    def _token(self, act: Act, person_id: str, expires_in_ns: int | None, own: OwnToken) -> Token:
        return Token(
            id=f"tok_{self._random_bytes(6).hex()}",
            person=person_id,
            hash=key_hash(own.digest, self._pepper),
            hint=own.hint,
            issued_ns=act.change.now_ns,
            expires_ns=None if expires_in_ns is None else act.change.now_ns + expires_in_ns,
            # One of their own is worth what the token is worth that they ask with.
            seen_by=tuple(name for name in act.operator.behind if name != person_id),
        )


def known_person(act: Act, person_id: str) -> Person:
    """A person by id.

    Raises:
        ConfigurationError: there is none.
    """
    person = act.change.people().get(person_id)
    if person is None:
        raise ConfigurationError(
            f"there is no person `{person_id}`; `aegis people list` shows those there are"
        )
    return person


def record_people(act: Act, tenants: Iterable[str]) -> None:
    """Say in new tenants' records who had a role there from the beginning."""
    for tenant in tenants:
        for person in act.change.people().values():
            roles = [grant for grant in person.grants if grant.tenant in (tenant, ALL_TENANTS)]
            if roles:
                found = {
                    "act": "found",
                    "person": person.id,
                    "roles": [_grant_record(each) for each in roles],
                }
                act.record([tenant], "person", dict(found))


@contextmanager
def _keeps_an_admin(act: Act) -> Iterator[None]:
    """Refuse what leaves no admin who can act, if there was one."""
    had = has_acting_admin(act.change)
    yield
    if had and not has_acting_admin(act.change):
        raise NotPermitted(
            "nobody would be left who is an admin everywhere and has a valid token; make another one first: "
            "`aegis people grant PERSON admin --tenant '*'`, and a token for them"
        )


def _check_tenants(act: Act, grants: Iterable[Grant]) -> None:
    for grant in grants:
        if grant.tenant != ALL_TENANTS and grant.tenant not in act.change.heads:
            raise ConfigurationError(
                f"there is no tenant `{grant.tenant}`; `aegis apply DIR` makes those of its file, and '*' is all"
            )


def scopes_of(person: Person) -> list[str]:
    """Where somebody has to be an admin to act on a person."""
    return sorted({grant.tenant for grant in person.grants}) or [ALL_TENANTS]


def tenants_of(act: Act, person: Person) -> list[str]:
    """The tenants that there are in which somebody has a role; all of them for who has none."""
    scopes = scopes_of(person)
    return [tenant for tenant in sorted(act.change.heads) if ALL_TENANTS in scopes or tenant in scopes]


def _save(act: Act, person: Person, body: dict[str, object], concerned: Person | None = None) -> None:
    act.change.save_person(person)
    record_of_person(act, concerned or person, body)


def record_of_person(act: Act, person: Person, body: dict[str, object]) -> None:
    """Say something of a person in the record of each tenant in which they have a role."""
    act.record(tenants_of(act, person), "person", {"person": person.id, **body})


def _roles(person: Person) -> list[dict[str, str]]:
    return [_grant_record(grant) for grant in person.grants]


def _grant_record(grant: Grant) -> dict[str, str]:
    return {"role": grant.role, "in": grant.tenant}


def _seen(secret: str) -> OwnToken:
    return OwnToken(digest=token_digest(secret), hint=key_hint(secret))
