"""Roles, and whose word a token gives."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.people import (
    ALL_TENANTS,
    PERMISSION_WORDS,
    PERMISSIONS,
    ROLES,
    Grant,
    Permission,
    Person,
    Role,
    Token,
    are_two,
    is_person_id,
    may,
    person_of,
)

ANA = Person(id="ana", name="Ana", added_ns=1)
TOKEN = Token(id="tok_1", person="ana", hash=b"h", hint="…", issued_ns=1)


def with_roles(*grants: Grant, suspended_ns: int | None = None) -> Person:
    """Somebody who has them."""
    return Person(id="ana", name="Ana", added_ns=1, grants=grants, suspended_ns=suspended_ns)


def test_the_table_is_whole() -> None:
    """Everything that can be permitted is, to admins at least, and has words of its own."""
    assert set(get_args(Permission)) == set(PERMISSIONS) == set(PERMISSION_WORDS)
    assert all("admin" in roles and set(roles) <= set(ROLES) for roles in PERMISSIONS.values())
    assert len(PERMISSIONS) == len(set(PERMISSION_WORDS.values()))


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_holds_where_it_was_given(role: Role, permission: Permission) -> None:
    """In its tenant and in no other; everywhere if it was given so; nowhere for those who are suspended."""
    here = Grant(role=role, tenant="acme")
    everywhere = Grant(role=role, tenant=ALL_TENANTS)
    able = role in PERMISSIONS[permission]
    assert (able, False, False) == tuple(
        may(with_roles(here), permission, tenant) for tenant in ("acme", "zeta", ALL_TENANTS)
    )
    assert (able, able) == tuple(
        may(with_roles(everywhere), permission, tenant) for tenant in ("acme", ALL_TENANTS)
    )
    assert not may(with_roles(everywhere, suspended_ns=1), permission, "acme")
    assert not may(ANA, permission, "acme")


def test_several_roles_add_up() -> None:
    """Somebody may propose in one tenant and approve in another."""
    both = with_roles(Grant(role="finops", tenant="acme"), Grant(role="approver", tenant="zeta"))
    assert (True, False) == (may(both, "apply", "acme"), may(both, "apply", "zeta"))
    assert (False, True) == (may(both, "approve", "acme"), may(both, "approve", "zeta"))


@pytest.mark.parametrize("text", ["ana", "ana@northbank.example", "a", "x" * 64, "0.a-b_c+d"])
def test_ids(text: str) -> None:
    """Names and addresses."""
    assert is_person_id(text)


@pytest.mark.parametrize("text", ["", "Ana", "local:ana", "-a", "a b", "x" * 65, "ána", "a\n", "*"])
def test_what_is_no_id(text: str) -> None:
    """Nothing that could be taken for another, or for somebody without an account."""
    assert not is_person_id(text)


NAMES = st.lists(st.sampled_from(["ana", "ben", "cy", "local"])).map(tuple)


@given(NAMES, NAMES)
def test_two_words_are_two_peoples(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Only where nobody can stand behind both; a word that nobody stands behind is no word."""
    assert are_two(one, other) == are_two(other, one)
    assert not are_two(one, (*other, *one[:1]) if one else other)
    assert are_two(one, other) == (bool(one) and bool(other) and set(one).isdisjoint(other))


def test_who_stands_behind_a_token() -> None:
    """Its person, and whoever can have seen it."""
    seen = Token(id="tok_2", person="ben", hash=b"i", hint="…", issued_ns=1, seen_by=("local", "ana"))
    assert (("ana",), ("ana", "ben", "local")) == (TOKEN.behind, seen.behind)


def test_a_token_ends() -> None:
    """When its time is over, or when it is revoked."""
    until = Token(id="tok_2", person="ben", hash=b"i", hint="…", issued_ns=1, expires_ns=5)
    revoked = Token(id="tok_2", person="ben", hash=b"i", hint="…", issued_ns=1, revoked_ns=3)
    assert (True, True, False, False) == (
        TOKEN.is_valid(9),
        until.is_valid(4),
        until.is_valid(5),
        revoked.is_valid(2),
    )


@pytest.mark.parametrize(
    ("address", "people", "found"),
    [
        ("Ana@acme.example", {"ana"}, "ana"),
        ("Ana@acme.example", {"ana", "ana@acme.example"}, "ana@acme.example"),
        ("ana", {"ana@acme.example"}, None),
        ("ben@acme.example", {"ana"}, None),
        ("@acme.example", {""}, None),
        ("", {"", "ana"}, None),
        (None, {"ana"}, None),
    ],
)
def test_whom_an_address_names(address: str | None, people: set[str], found: str | None) -> None:
    """Whoever is registered under the whole address, or else under what stands before its domain."""
    assert found == person_of(address, people)
