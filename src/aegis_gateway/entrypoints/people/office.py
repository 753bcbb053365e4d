"""What pages and the control API work on, shared by the threads that serve them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from aegis_gateway.adapters.sessions import StoredSessions
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Store
from aegis_gateway.application.sessions import Sessions, secret_digest
from aegis_gateway.bootstrap import VerifiedRegistries
from aegis_gateway.domain.errors import KeyFormatError
from aegis_gateway.domain.keys import check_key, key_hash, token_digest
from aegis_gateway.domain.people import Person, Token, may, sees_shared
from aegis_gateway.domain.session import SignedIn
from aegis_gateway.entrypoints.people.attempts import Attempts
from aegis_gateway.entrypoints.people.pool import StorePool
from aegis_gateway.entrypoints.people.rendering import Templates


class Office:
    """Everything that is the same for all who visit."""

    def __init__(
        self,
        stores: StorePool,
        pepper: bytes,
        random_bytes: Callable[[int], bytes],
        now_ns: Callable[[], int],
        tenants: Callable[[], Mapping[str, TenantView]],
        registries: VerifiedRegistries,
        *,
        is_secure: bool,
        trace_url: str | None = None,
    ) -> None:
        """`tenants` are those in force now, `registries` what versions say, verified; `is_secure`: people reach the
        pages by https. `trace_url` is the address of a trace, with `{trace_id}` in it.
        """
        self._stores = stores
        self.pepper = pepper
        self.random_bytes = random_bytes
        self.now_ns = now_ns
        self.tenants = tenants
        self.registries = registries
        self.is_secure = is_secure
        self.trace_url = trace_url
        self.attempts = Attempts(now_ns)
        self.templates = Templates()

    def store(self) -> AbstractContextManager[Store]:
        """A store of one's own until the end of the block."""
        return self._stores.lease()

    def signed_in(self, secret: str) -> SignedIn | None:
        """Who shows this secret of a session, if it is one that still holds."""
        with self.store() as store:
            found = StoredSessions(store.query).signed_in(secret_digest("session", secret, self.pepper))
        return found if found is not None and found.why_over(self.now_ns()) is None else None

    def token_holder(self, token: str) -> tuple[Person, Token] | None:
        """Whose token this is, if it is valid and they are not suspended."""
        try:
            if check_key(token) != "person":
                return None
        except KeyFormatError:
            return None
        with self.store() as store:
            found = StoredSessions(store.query).token_holder(key_hash(token_digest(token), self.pepper))
        if found is None or found[0].suspended_ns is not None or not found[1].is_valid(self.now_ns()):
            return None
        return found

    def has_people(self) -> bool:
        """Whether anybody has an account."""
        with self.store() as store:
            return StoredSessions(store.query).has_people()

    def sessions(self, store: Store) -> Sessions:
        """Signing in and out, on a store."""
        return Sessions(store, self.pepper, self.random_bytes)

    def sees_shared(self, person: Person) -> bool:
        """Whether somebody may see what is written for all tenants: it may name any of them."""
        return sees_shared(person, self.tenants())

    def readable(self, person: Person) -> list[str]:
        """The tenants that somebody may see, by name."""
        return sorted(tenant for tenant in self.tenants() if may(person, "read", tenant))
