"""The directory: every tenant's registry, policies and keys as a gateway worker has them in memory.

Rule 1: it is a copy, and each call says which epoch it was judged under; the ledger refuses an old one, so a
        change (a revoked key, a lowered limit) holds for the very next call on every replica.
Rule 2: a copy is replaced as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.domain.judge import Policies
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.registry import Agent, Budget, Key, Model, Rate, Registry

RELOAD_INTERVAL_S = 0.05
LOOK_INTERVAL_S = 0.3
"""How often a worker looks by itself, so that one without calls has what is new within a second too."""

_log = logging.getLogger("aegis.directory")


Combination = tuple[str, str, str, str | None]
"""Key, connector, tool, model."""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Which rates and budgets apply: those that are known from the combination, and those that the call decides on."""

    rates: tuple[RateClaim, ...]
    budgets: tuple[BudgetClaim, ...]
    later_rates: tuple[Rate, ...] = ()
    later_budgets: tuple[Budget, ...] = ()


def no_model(_name: str, _kinds: tuple[str, ...]) -> Model | None:
    """None but those that are configured."""
    return None


class TenantView(msgspec.Struct, frozen=True, kw_only=True):
    """All of one tenant that deciding a call needs, at one epoch.

    `claims` remembers which rates and budgets apply to which combination of key, connector, tool and model: they
    follow from the registry, so they live and die with the view. `unlisted` makes the model of a name that is not
    configured, for one of some kinds of connectors, where everything passes.
    `beside_version` decides for other agents, while one of the two is a canary.
    """

    epoch: int
    config_version: int
    beside_version: int | None = None
    registry: Registry
    policies: Policies
    arguments_key: bytes
    redaction_key: bytes = b""
    claims: dict[Combination, Claims] = {}
    unlisted: Callable[[str, tuple[str, ...]], Model | None] = no_model


class KnownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, the agent it was issued to, and the view of the agent's tenant."""

    key: Key
    agent: Agent | None
    view: TenantView


def no_view(_tenant: str, _agent: str) -> TenantView | None:
    """None: there are no tenants."""
    return None


class DirectoryCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of everything: tenants by id, keys by the hash that is stored of them, and `by_id` (tenant and id).

    `seen` remembers keys that were presented, by a hash that is cheaper than the stored one and means nothing
    outside of this process; only keys that were found are in it, so it is never larger than `keys`. From
    `valid_until_ns` on some of its prices no longer hold. Callers without a key are of `of_strangers`.
    `version` is in force, `digest` is its bundle's; `warning` says why it is not the newest that is stored. `view_of` a
    tenant and one of its agents is the view that this agent's calls are decided under.
    """

    tenants: dict[str, TenantView]
    keys: dict[bytes, KnownKey]
    valid_until_ns: int = 2**63 - 1
    version: int = 0
    digest: str = ""
    canary: int | None = None
    warning: str = ""
    seen: dict[bytes, KnownKey] = {}
    by_id: dict[tuple[str, str], KnownKey] = {}
    of_strangers: TenantView | None = None
    view_of: Callable[[str, str], TenantView | None] = no_view


class Directory:
    """Keeps the newest copy. Reads happen in a thread, one at a time, never on the event loop."""

    def __init__(self, load: Callable[[], DirectoryCopy], epochs: Callable[[], dict[str, int]]) -> None:
        """`load` reads everything; `epochs` tells cheaply whether anything changed. Both may block."""
        self._load = load
        self._epochs = epochs
        self._reading = asyncio.Lock()
        self._tried_at = 0.0
        self._looked_at = 0.0
        self._epochs_seen = epochs()
        self.copy = load()

    def find(self, key_hash: bytes) -> KnownKey | None:
        """The key with this hash, if the copy has it."""
        return self.copy.keys.get(key_hash)

    def find_by_id(self, tenant: str, key: str) -> KnownKey | None:
        """A tenant's key by its id."""
        return self.copy.by_id.get((tenant, key))

    async def keep_current(self, now_ns: int) -> None:
        """Read again what has become invalid by time alone: prices that begin on a date."""
        if now_ns >= self.copy.valid_until_ns:
            async with self._reading:
                if now_ns >= self.copy.valid_until_ns:
                    self.copy = await asyncio.to_thread(self._load)

    async def keep_watch(self, tell: Callable[[DirectoryCopy], None]) -> None:
        """Look again and again, for as long as the process lives, and tell what is there."""
        while True:
            tell(self.copy)
            await asyncio.sleep(LOOK_INTERVAL_S)
            try:
                await self.refresh_if_changed()
            except AegisError as fault:
                _log.warning("what is in force cannot be read: %s", fault)

    async def refresh(self, tenant: str, epoch: int) -> None:
        """Make sure that the copy of a tenant is at least at an epoch."""
        async with self._reading:
            view = self.copy.tenants.get(tenant)
            if view is None or view.epoch < epoch:
                self.copy = await asyncio.to_thread(self._load)

    async def refresh_if_changed(self) -> None:
        """Look whether anything changed: at most every 50 ms, and once for all who asked before the look began."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with self._reading:
            if self._looked_at > asked_at:
                return
            pause = self._tried_at + RELOAD_INTERVAL_S - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            began_at = self._tried_at = loop.time()
            epochs = await asyncio.to_thread(self._epochs)
            if epochs != self._epochs_seen:
                self.copy = await asyncio.to_thread(self._load)
                self._epochs_seen = epochs
            self._looked_at = began_at
