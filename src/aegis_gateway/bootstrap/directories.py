"""The directory as a process has it, and what is decided by it."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

import msgspec

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.catalogue import CataloguePrices
from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies, PolicyCompiler
from aegis_gateway.adapters.cedar_recorded import RecordedPolicies
from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.faults import FaultyLedger, planted_fault
from aegis_gateway.adapters.ledger_client import LedgerClient
from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import Directory, DirectoryCopy, KnownKey, TenantView
from aegis_gateway.application.pace import Pace
from aegis_gateway.application.ports import StoredState, TenantState
from aegis_gateway.application.rejudging import Rejudging
from aegis_gateway.application.replay import Replay
from aegis_gateway.application.rerun import Rerun
from aegis_gateway.application.tracing import Observer
from aegis_gateway.application.versions import verify
from aegis_gateway.bootstrap.configurations import (
    compiled_policies,
    of_version,
    policy_files,
    today,
    with_stored,
)
from aegis_gateway.bootstrap.installation import pepper, reading, signatures, store
from aegis_gateway.configuration.load import Configuration, load
from aegis_gateway.configuration.prices import NO_PRICES, Prices
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.configuration.unlisted import unlisted_models
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.domain.registry import Argument, Registry
from aegis_gateway.domain.tools import tools_of

_log = logging.getLogger("aegis.directory")


def _end_ns(day: date | None) -> int:
    """The end of a day in UTC, in nanoseconds since 1970; far away where there is none."""
    if day is None:
        return 2**63 - 1
    following = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
    return int(following.timestamp()) * 1_000_000_000


class DirectoryLoader:
    """How a gateway worker reads the directory. What was not signed as it stands decides nothing: while the version in
    force is forged, the last one that was good goes on, with keys, agents and epochs as they are now.
    """

    def __init__(self, settings: Settings) -> None:
        """Read from the store that the settings name."""
        self._settings = settings
        self._database = store(settings, read_only=True)
        self._pepper = pepper(settings)
        self._prices = CataloguePrices(today())
        self._compiler = PolicyCompiler()
        self._compiled: dict[tuple[int, date | None], tuple[Configuration, dict[str, CompiledPolicies]]] = {}
        self._good: tuple[ConfigVersion, ConfigVersion | None] | None = None

    def epochs(self) -> dict[str, int]:
        """All tenants' epochs: what has changed is told by comparing."""
        return self._database.epochs()

    def __call__(self) -> DirectoryCopy:
        """Read everything.

        Raises:
            VersionForged: the version in force is not as it was signed, and none was good before.
        """
        if self._prices.valid_through is not None and today() > self._prices.valid_through:
            self._prices = CataloguePrices(today())
        state = self._database.state()
        if state.config is None:
            return DirectoryCopy(tenants={}, keys={})
        warning = self._verify(state)
        assert self._good is not None, "it was just verified"
        config, canary = self._good
        views = self._views(config, state, beside=canary)
        ahead = self._views(canary, state, beside=config) if canary is not None else {}
        self._compiled = {
            place: found
            for place, found in self._compiled.items()
            if place[0] in (config.version, canary.version if canary else None)
        }
        known = [
            KnownKey(key=each, agent=view.registry.agents.get(each.agent), view=view)
            for tenant, stored in state.tenants.items()
            for each in stored.keys
            if (view := self._view_of(tenant, each.agent, views, ahead, canary)) is not None
        ]
        return DirectoryCopy(
            tenants=views,
            keys={each.key.hash: each for each in known},
            by_id={(each.view.registry.tenant, each.key.id): each for each in known},
            valid_until_ns=_end_ns(self._prices.valid_through),
            version=config.version,
            digest=config.bundle_digest,
            canary=canary.version if canary else None,
            warning=warning,
            of_strangers=next((view for view in views.values() if view.registry.takes_strangers), None),
            view_of=lambda tenant, agent: self._view_of(tenant, agent, views, ahead, canary),
        )

    def _verify(self, state: StoredState) -> str:
        """Take over the versions in force if they are good; else say what is wrong and keep those that were."""
        assert state.config is not None, "there is one"
        try:
            keys = signatures(self._settings)
            for version in (state.config, state.canary):
                if version is not None:
                    verify(version, keys)
        except (VersionForged, ConfigurationError) as fault:
            if self._good is None:
                raise
            warning = f"{fault}; configuration {self._good[0].version} goes on"
            _log.error("%s", warning)
            return warning
        self._good = state.config, state.canary
        return ""

    def _views(
        self, config: ConfigVersion, state: StoredState, beside: ConfigVersion | None
    ) -> dict[str, TenantView]:
        place = (config.version, self._prices.valid_through)
        if place not in self._compiled:
            loaded = load(config.files, self._prices)
            self._compiled[place] = loaded, self._compiler.compile(policy_files(loaded))
        loaded, policies = self._compiled[place]
        return {
            tenant: _view(
                policies[tenant], config, registry, state.tenants[tenant], self._pepper, self._prices, beside
            )
            for tenant, registry in loaded.registries.items()
        }

    def _view_of(
        self,
        tenant: str,
        agent: str,
        views: dict[str, TenantView],
        ahead: dict[str, TenantView],
        canary: ConfigVersion | None,
    ) -> TenantView | None:
        """The view that an agent's calls are decided under."""
        trial = canary.canary if canary is not None else None
        is_ahead = trial is not None and trial.includes(tenant, agent, self._pepper)
        return (ahead if is_ahead else views).get(tenant)


def tenant_view(loaded: Configuration, state: StoredState, tenant: str, key: bytes) -> TenantView:
    """A tenant as a gateway sees it under a configuration. `key` is the pepper, which only recorded calls need."""
    assert state.config is not None, "a configuration was loaded from it"
    policies = compiled_policies(loaded, tenant)
    return _view(policies, state.config, loaded.registries[tenant], state.tenants[tenant], key)


def replay(
    changed: Configuration,
    in_force: Configuration,
    state: StoredState,
    tenant: str,
    version: Callable[[int], ConfigVersion | None],
    limits: Sequence[BudgetChange],
) -> Replay:
    """A replay of a tenant's record under a changed configuration, beside the one in force.

    `version` finds the configurations that were applied before: what they declared of tools is what calls could have.
    `limits` is all that was ever done to limits.
    """

    @cache
    def tools(number: int) -> dict[str, tuple[Argument, ...]]:
        found = version(number)
        try:
            registry = of_version(found).registries.get(tenant) if found else None
        except (
            ConfigurationError
        ):  # an older version of Aegis took it; what it declared can't be told any more
            return {}
        return tools_of(registry) if registry is not None else {}

    @cache
    def declared(number: int, tool: str) -> frozenset[str]:
        return frozenset(argument.name for argument in tools(number).get(tool, ()))

    keys = {key.id: key for key in state.tenants[tenant].keys}
    budgets = in_force.registries[tenant].budgets

    def rerun(loaded: Configuration) -> Rerun:
        view = tenant_view(loaded, state, tenant, b"")
        # As configured: what was done to limits is taken up where it stands in the record.
        configured = msgspec.structs.replace(view.registry, budgets=loaded.registries[tenant].budgets)
        view = msgspec.structs.replace(view, registry=configured)
        compiled = compiled_policies(loaded, tenant)
        policies = RecordedPolicies(view.registry, compiled)
        throttle_ns = max((policy.period_ns for policy in compiled.rules.values()), default=0)
        return Rerun(Rejudging(view, policies, keys, declared), budgets, throttle_ns, limits)

    is_changed = changed is not in_force
    return Replay(rerun(changed), rerun(in_force) if is_changed else None)


def unstored_view(loaded: Configuration, tenant: str) -> TenantView:
    """A tenant as a gateway would see it if a configuration were in force and nothing else there."""
    config = ConfigVersion(version=0, files={}, applied_by="", applied_ns=0)
    nothing = TenantState(tenant=tenant, epoch=0)
    return _view(compiled_policies(loaded, tenant), config, loaded.registries[tenant], nothing, b"")


def _view(
    policies: CompiledPolicies,
    config: ConfigVersion,
    registry: Registry,
    stored: TenantState,
    key: bytes,
    prices: Prices = NO_PRICES,
    beside: ConfigVersion | None = None,
) -> TenantView:
    whole = with_stored(registry, stored)
    return TenantView(
        epoch=stored.epoch,
        config_version=config.version,
        beside_version=beside.version if beside is not None else None,
        registry=whole,
        policies=CedarPolicies(whole, policies),
        unlisted=unlisted_models(whole, prices),
        arguments_key=hmac.digest(key, f"arguments:{registry.tenant}".encode(), "sha256"),
        redaction_key=hmac.digest(key, f"redaction:{registry.tenant}".encode(), "sha256"),
    )


def directory(settings: Settings) -> Directory:
    """What is in force, as one process has it."""
    loader = DirectoryLoader(settings)
    return Directory(loader, loader.epochs)


def calls(settings: Settings, ledger: LedgerClient, observer: Observer | None = None) -> Calls:
    """The use cases of the hot path, for one gateway worker; `observer` is told of calls."""
    fault = planted_fault(os.environ)
    asked = ledger if fault is None else FaultyLedger(ledger, fault)
    query = reading(settings).query
    watch = ApprovalWatch(
        ApprovalReports(lambda sql, values: [tuple(row.values()) for row in query(sql, values)])
    )
    pace = Pace(metering=observer.metering if observer is not None else None)
    return Calls(
        directory(settings), asked, SystemClock(), os.urandom, pepper(settings), watch, observer, pace
    )
