"""People with tokens on a store, and what they do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.signing import Ed25519Signatures, new_private_key
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.people import OwnToken, People
from aegis_gateway.application.ports import Store
from aegis_gateway.application.proposals import Proposals
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import NotPermitted
from aegis_gateway.domain.keys import key_from_random, key_hint, token_digest
from aegis_gateway.domain.people import ALL_TENANTS, Grant, Role
from aegis_gateway.domain.risk import Appraisal

PEPPER = b"p" * 32
ADMIN = Grant(role="admin", tenant=ALL_TENANTS)


def grant(role: Role, tenant: str = "acme") -> Grant:
    """A role in a tenant."""
    return Grant(role=role, tenant=tenant)


def refused(act: Callable[[], object]) -> str:
    """What is said of an act that is not permitted."""
    with pytest.raises(NotPermitted) as told:
        act()
    return str(told.value)


class Random:
    """Bytes that are different each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, length: int) -> bytes:
        """The next."""
        self.count += 1
        return self.count.to_bytes(length, "big")


class House:
    """An installation, and its people with their tokens."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.random = Random()
        self.signatures = Ed25519Signatures(new_private_key(), "tests")
        self.has_four_eyes = False
        self.secrets: dict[str, str | None] = {"": None}

    def people(self, who: str = "") -> People:
        """The use cases about people, as somebody."""
        return People(self.store, PEPPER, self.random, self.caller(who), has_four_eyes=self.has_four_eyes)

    def administration(self, who: str = "", store: Store | None = None) -> Administration:
        """The other use cases, as somebody."""
        return Administration(store or self.store, PEPPER, self.signatures, self.random, self.caller(who))

    def proposals(self, who: str) -> Proposals:
        """What is answered, as somebody."""
        return Proposals(self.store, PEPPER, self.caller(who))

    def apply(self, who: str, files: dict[str, str], *tenants: str) -> str:
        """Put a configuration in force that widens nothing, as somebody; who did it."""
        applied = self.administration(who).apply(files, tenants, appraisal=Appraisal(based_on=self.version()))
        assert isinstance(applied, ConfigVersion)
        return applied.applied_by

    def version(self) -> int:
        """The version in force."""
        newest = self.store.state().config
        return newest.version if newest else 0

    def caller(self, who: str) -> Caller:
        """Somebody, with their newest token."""
        return Caller(local_name="os-user", token=self.secrets[who])

    def issue(self, person: str, by: str = "", **more: int) -> str:
        """Issue a token, which they use from now on; its id."""
        issued = self.people(by).issue_token(person, expires_in_ns=more.get("expires_in_ns"))
        self.secrets[person] = issued.secret
        return issued.token.id

    def add(self, person: str, *grants: Grant, by: str = "ana") -> None:
        """Register somebody, with a token that whoever did so has seen."""
        self.people(by).add(person, person.title(), grants)
        self.issue(person, by)

    def add_apart(self, person: str, *grants: Grant, by: str = "ana") -> None:
        """Register somebody, with a token that nobody else has seen."""
        self.people(by).add(person, person.title(), grants)
        secret = key_from_random(10**30 + self.random.count, "person")
        own = OwnToken(digest=token_digest(secret), hint=key_hint(secret))
        self.people(by).issue_token(person, own=own)
        self.secrets[person] = secret

    def entries(self, tenant: str = "acme", kind: str = "person") -> list[dict[str, object]]:
        """What the record says of people, or of something else."""
        found = [json.loads(entry.body) for entry in Reports(self.store.query).entries(tenant, 0, 1_000)]
        return [entry for entry in found if entry["type"] == kind]
