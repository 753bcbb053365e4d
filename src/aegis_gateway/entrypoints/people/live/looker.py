"""Looks at the store for all open pages of a process, with a connection that nothing else waits for."""

from __future__ import annotations

from collections.abc import Callable, Collection

from aegis_gateway.adapters.record_ends import record_ends
from aegis_gateway.adapters.sessions import StoredSessions
from aegis_gateway.entrypoints.people.live.watch import Glance
from aegis_gateway.entrypoints.people.pool import StorePool


class StoreLooker:
    """Looks at a store. One look at a time, so `stores` needs to have one."""

    def __init__(self, stores: StorePool, now_ns: Callable[[], int]) -> None:
        """Open nothing yet."""
        self._stores = stores
        self._now_ns = now_ns

    def look(self, tenants: Collection[str], sessions: Collection[bytes]) -> Glance:
        """How far tenants' records have come, and whose sessions these are, without those that are over.

        Raises:
            AegisError: it cannot be read.
        """
        people = {}
        with self._stores.lease() as store:
            ends = record_ends(store.query, tuple(tenants))
            stored, now_ns = StoredSessions(store.query), self._now_ns()
            for digest in sessions:
                found = stored.signed_in(digest)
                if found is not None and found.why_over(now_ns) is None:
                    people[digest] = found.person
        return Glance(ends=ends, people=people)
