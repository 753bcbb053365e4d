"""People: who they are, what their roles let them do, and whose word a token gives.

Rule 1: `PERMISSIONS` is the whole of what roles mean, and `may` alone decides by it.
Rule 2: a person is never deleted and an id never given twice: who was suspended cannot come back as somebody else
        under the same name.
Rule 3: a token gives its person's word, and that of everybody who can have seen it or made its person up (`behind`).
        Two words are two people's only if nobody stands behind both.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, get_args

import msgspec

Role = Literal["admin", "finops", "approver", "auditor", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)

Permission = Literal[
    "read",
    "plan",
    "apply",
    "roll_back",
    "budgets",
    "agents",
    "keys",
    "settle",
    "approve",
    "notifications",
    "review",
    "emergency",
    "people",
]

PERMISSIONS: dict[Permission, tuple[Role, ...]] = {
    "read": ("admin", "finops", "approver", "auditor", "viewer"),
    "plan": ("admin", "finops", "approver", "auditor"),
    "apply": ("admin", "finops"),
    "roll_back": ("admin", "finops"),
    "budgets": ("admin", "finops"),
    "agents": ("admin", "finops"),
    "keys": ("admin", "finops"),
    "settle": ("admin", "finops"),
    "approve": ("admin", "approver"),
    "notifications": ("admin", "finops"),
    "review": ("admin", "finops", "approver", "auditor"),
    "emergency": ("admin",),
    "people": ("admin",),
}
"""Which roles may do what; for the tenant, or all, in which the role is held."""

PERMISSION_WORDS: dict[Permission, str] = {
    "read": "see budgets, calls and the record",
    "plan": "see what a configuration would change",
    "apply": "put a configuration in force, or propose it",
    "roll_back": "go back to an earlier configuration",
    "budgets": "change budgets' limits",
    "agents": "register and change agents",
    "keys": "issue, rotate, throttle, hold, restore and revoke agents' keys",
    "settle": "settle calls in doubt",
    "approve": "approve, refuse and review what others did",
    "notifications": "have notifications sent again, and channels tested",
    "review": "record that spending was reviewed",
    "emergency": "put a configuration in force at once, where two people are needed",
    "people": "add people, give and take roles, issue and revoke tokens",
}

ALL_TENANTS = "*"
LOCAL = "local"
"""Who stands behind what was done without a token: whoever could open the store."""

_ID = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


class Grant(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A role in a tenant, or in all (`*`)."""

    role: Role
    tenant: str

    def __str__(self) -> str:
        """`finops in northbank`, `admin everywhere`."""
        return f"{self.role} everywhere" if self.tenant == ALL_TENANTS else f"{self.role} in {self.tenant}"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person with an account, and their roles."""

    id: str
    name: str
    added_ns: int
    grants: tuple[Grant, ...] = ()
    suspended_ns: int | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A person's API token; `hash` is all that is kept of it. `seen_by` are others whose word it can be."""

    id: str
    person: str
    hash: bytes
    hint: str
    issued_ns: int
    expires_ns: int | None = None
    revoked_ns: int | None = None
    seen_by: tuple[str, ...] = ()

    def is_valid(self, now_ns: int) -> bool:
        """Whether anything may be done with it."""
        return self.revoked_ns is None and (self.expires_ns is None or now_ns < self.expires_ns)

    @property
    def behind(self) -> tuple[str, ...]:
        """Everybody whose word it can be."""
        return tuple(sorted({self.person, *self.seen_by}))


def ids_of_address(address: str) -> tuple[str, ...]:
    """How the id of a person may be written whom an address names: in small letters, with its domain, then without.

    Whoever may *not* do something because they own it is looked for under both; who may is `person_of`.
    """
    name = address.casefold()
    return tuple(dict.fromkeys(each for each in (name, name.partition("@")[0]) if each))


def person_of(address: str | None, people: Collection[str]) -> str | None:
    """The registered person whom an address names: under the whole of it, or else without its domain."""
    return next((name for name in ids_of_address(address or "") if name in people), None)


def may(person: Person, permission: Permission, tenant: str) -> bool:
    """Whether a person may do something in a tenant, or (`*`) in every tenant that there is or will be."""
    return person.suspended_ns is None and any(
        grant.role in PERMISSIONS[permission] and grant.tenant in (tenant, ALL_TENANTS)
        for grant in person.grants
    )


def sees_shared(person: Person, tenants: Collection[str]) -> bool:
    """Whether a person may see what holds for all of these tenants, and so may name any of them, as a policy can."""
    return all(may(person, "read", tenant) for tenant in tenants)


def is_person_id(text: str) -> bool:
    """Whether a text can be a person's id: a name or an address, in small letters."""
    return _ID.fullmatch(text) is not None


def are_two(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two words, told by everybody who stands behind each, are certainly two people's."""
    return bool(one) and bool(other) and not set(one) & set(other)
