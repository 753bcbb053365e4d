"""Making digests: each once for each period, whoever does it and whenever that is.

Rule 1: a digest is taken as made in the transaction that makes its deliveries, under its tenant's lock: so each place
        gets it once, on any number of stewards.
Rule 2: after an outage the newest is made, late, and says which are missing; those are not made any more.
Rule 3: what it tells is read before, without a lock, from what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aegis_gateway.application.ports import Store
from aegis_gateway.domain.channel import targets_of
from aegis_gateway.domain.delivery import delivery_of
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.message import Message
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.window import Window

KIND = "digest"

Registries = Callable[[], Mapping[str, Registry]]
LastMade = Callable[[str, str], int | None]
"""When the last period began of which a tenant's digest was made, by the name under which that is kept."""


class Content(Protocol):
    """What a digest tells."""

    def __call__(
        self, registry: Registry, digest: Digest, window: Window, missing: Sequence[Window]
    ) -> Message:
        """The message of a period; `missing` are those before it of which none was made."""


class Digesting:
    """Makes the digests that are due."""

    def __init__(self, store: Store, registries: Registries, last_made: LastMade, content: Content) -> None:
        """`content` reads what there is to tell."""
        self._store = store
        self._registries = registries
        self._last_made = last_made
        self._content = content

    def __call__(self) -> int:
        """Make what is due; how many that was.

        Raises:
            LedgerUnavailable: the store cannot be read, or did not take it. What was made is made.
        """
        now_ns = self._store.clock_ns()
        return sum(
            self._make(registry, digest, now_ns)
            for registry in self._registries().values()
            for digest in registry.digests.values()
        )

    def _make(self, registry: Registry, digest: Digest, now_ns: int) -> bool:
        zone, year = registry.zone, registry.year_starts
        window = digest.due(zone, now_ns, year)
        last_ns = self._last_made(registry.tenant, digest.key)
        if last_ns is not None and _is_made(window, last_ns):
            return False
        missing = digest.missed(zone, window, last_ns, year)
        message = self._content(registry, digest, window, missing)
        with self._store.change([registry.tenant]) as change:
            if change.has_digest(registry.tenant, digest.key, window.starts_ns):
                return False
            change.save_digest(registry.tenant, digest.key, window.starts_ns, change.now_ns)
            for target in targets_of(digest.to, registry.channels, owner_of(digest, registry)):
                change.save_delivery(
                    delivery_of(
                        tenant=registry.tenant,
                        sequence=window.starts_ns,
                        kind=KIND,
                        subject=f"digest:{digest.key}",
                        target=target,
                        message=message,
                        made_ns=change.now_ns,
                    )
                )
        return True


def owner_of(digest: Digest, registry: Registry) -> str:
    """Whose the team or budget is that a digest is about; empty for the whole tenant."""
    if digest.scope == "team":
        team = registry.teams.get(digest.name)
        return team.owner if team is not None else ""
    budget = registry.budgets.get(digest.name) if digest.scope == "budget" else None
    return budget.owner if budget is not None else ""


def _is_made(window: Window, last_ns: int) -> bool:
    # By half a period: in a time zone that was changed, the same day begins at another instant.
    return last_ns > window.starts_ns - (window.ends_ns - window.starts_ns) // 2
