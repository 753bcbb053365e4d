"""Builds the object graph. This module alone knows which adapters stand behind the ports."""

from __future__ import annotations

import contextlib
import hmac
import importlib.util
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.balances import StoredBalances
from aegis_gateway.adapters.catalogue import CataloguePrices
from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies, Files, PolicyCompiler, policy_bodies
from aegis_gateway.adapters.cedar_lint import lint as lint_policies
from aegis_gateway.adapters.cedar_listing import policy_texts
from aegis_gateway.adapters.cedar_recorded import RecordedPolicies
from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.faults import (
    FaultyLedger,
    FaultyStore,
    FaultyUpstream,
    break_disk,
    planted_fault,
)
from aegis_gateway.adapters.ledger_client import LedgerClient
from aegis_gateway.adapters.named_calls import StoredNamedCalls
from aegis_gateway.adapters.reading import Reading
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.rows import versions_in_force
from aegis_gateway.adapters.sealing import AesSealer
from aegis_gateway.adapters.secrets import ReferencedSecrets
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.adapters.upstream import PyreqwestUpstream
from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.approvals import Outcomes
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import Directory, DirectoryCopy, KnownKey, TenantView
from aegis_gateway.application.pace import Pace
from aegis_gateway.application.ports import Clock, Signatures, Store, StoredState, TenantState, Upstream
from aegis_gateway.application.rejudging import Rejudging
from aegis_gateway.application.replay import Replay
from aegis_gateway.application.rerun import Rerun
from aegis_gateway.application.tracing import Observer
from aegis_gateway.application.versions import verify
from aegis_gateway.application.watching import Watching
from aegis_gateway.configuration.load import MAIN_FILE, Configuration, PolicyFile, load
from aegis_gateway.configuration.prices import NO_PRICES, Prices
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.configuration.unlisted import unlisted_models
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.budget_family import with_changes
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.errors import ConfigurationError, Problem, VersionForged
from aegis_gateway.domain.registry import Argument, Registry
from aegis_gateway.domain.risk import Appraisal, Finding, PolicyBody, Risk, Stance
from aegis_gateway.domain.risk_of_changes import risk_of
from aegis_gateway.domain.tools import tools_of
from aegis_gateway.domain.trials import Rules, Untried, rules_of, untried, wanting_trial

_PEPPER_BYTES = 32
_VERSIONS_KEPT = 4

_log = logging.getLogger("aegis.directory")


def system_clock() -> Clock:
    """The machine's clock."""
    return SystemClock()


def ledger_store(settings: Settings) -> Store:
    """The store for the process that keeps the ledger, with the fault of a drill, if one is asked for.

    Raises:
        StoreError: it cannot be opened.
        ConfigurationError: it is no fault.
    """
    fault = planted_fault(os.environ)
    if fault is None:
        return store(settings)
    break_disk(fault)
    return cast(Store, FaultyStore(store(settings), fault))


def store(settings: Settings, *, read_only: bool = False) -> Store:
    """The store that the settings name.

    Raises:
        StoreError: it cannot be opened.
    """
    # Without a clock of ours, each store takes its own: PostgreSQL's is one for all gateways.
    return open_store(settings.store, None, read_only=read_only)


def watching(settings: Settings, database: Store) -> Watching:
    """What takes a version back by itself, on the ledger process's own store."""
    return Watching(database, Reports(database.query), lambda: signatures(settings), registries)


def registries(version: ConfigVersion) -> Mapping[str, Registry]:
    """A version's tenants, as it configures them.

    Raises:
        ConfigurationError: it can't be loaded any more.
    """
    return load(version.files, CataloguePrices(_today())).registries


def pepper(settings: Settings) -> bytes:
    """The installation's pepper; a file that does not exist yet is made, readable by its owner only.

    Raises:
        ConfigurationError: it cannot be read, or is shorter than 32 bytes.
    """
    _make_once(settings.pepper, lambda: secrets.token_hex(_PEPPER_BYTES))
    value = ReferencedSecrets().resolve(settings.pepper).encode()
    if len(value) < _PEPPER_BYTES:
        raise ConfigurationError(
            f"`{settings.pepper}` is shorter than {_PEPPER_BYTES} characters; make it longer"
        )
    return value


def signatures(settings: Settings, *, make: bool = False) -> Signatures:
    """What signs configurations and verifies them. With `make`, a key's file that does not exist yet is made.

    Raises:
        ConfigurationError: there is no key, or it is none.
    """
    from aegis_gateway.adapters.signing import Ed25519Signatures, new_private_key

    if make:
        _make_once(settings.signing_key, new_private_key)
    try:
        pem = ReferencedSecrets().resolve(settings.signing_key)
    except ConfigurationError as fault:
        words = "AEGIS_SIGNING_KEY says where the key is that configurations are signed with"
        raise ConfigurationError(f"{fault} {words}; all gateways of one database need the same") from fault
    return Ed25519Signatures(pem, settings.signing_key)


def _make_once(reference: str, make: Callable[[], str]) -> None:
    """Make the file of a secret that isn't there yet, readable by its owner only. Two that do so at once make one."""
    kind, _, name = reference.partition(":")
    path = Path(name)
    if kind != "file" or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def configuration(files: dict[str, str]) -> Configuration:
    """Load and compile a configuration, so that whatever is wrong with it now is known.

    Raises:
        ConfigurationError: something is wrong, all of it named.
    """
    loaded = load(files, CataloguePrices(_today()), SystemClock().now_ns())
    try:
        PolicyCompiler().compile(_policy_files(loaded))
    except ConfigurationError as fault:
        written = {file.path: file for each in loaded.policies.values() for file in each}
        placed = (written[each.file].placed(each) for each in fault.problems)
        raise ConfigurationError(problems=tuple(placed)) from None
    return loaded


def appraisal(old: Configuration | None, new: Configuration, state: StoredState) -> Appraisal:
    """What a configuration would widen or narrow in place of what is in force, with the agents that are stored.

    Where what is in force can't be loaded (`old` is None, and there is some), everything may widen, and two people are
    needed where the new one says so.
    """
    newest = state.canary or state.config
    if newest is None:
        return Appraisal()
    before, after = _stances(old, state) if old is not None else {}, _stances(new, state)
    asked = before or after
    return Appraisal(
        based_on=newest.version,
        risk=risk_of(before, after),
        four_eyes=tuple(sorted(tenant for tenant, stance in asked.items() if stance.registry.four_eyes)),
    )


def untried_rules(
    old: Configuration,
    new: Configuration,
    state: StoredState,
    versions: Callable[[], Iterator[ConfigVersion]],
    now_ns: int,
) -> tuple[Untried, ...]:
    """What a configuration would let act before it has been in shadow for as long as its tenant demands.

    `versions` are all that were ever in force, the newest first.
    """
    before, after = _stances(old, state), _stances(new, state)
    risk = risk_of(before, after)
    wanting = {
        tenant: names
        for tenant, stance in after.items()
        if tenant in before and before[tenant].registry.shadow_for_ns
        if (names := wanting_trial(before[tenant], stance, _findings_of(risk, tenant)))
    }
    if not wanting:
        return ()
    history: list[tuple[int, dict[str, Stance]]] = []
    longest_ns = max(before[tenant].registry.shadow_for_ns for tenant in wanting)
    for version in versions():
        if version.canary is None:
            try:
                stances = _stances(load(version.files, CataloguePrices(_today())), state)
            except ConfigurationError:  # an older version of Aegis took it; nothing of it can be told
                stances = {}
            history.append((version.applied_ns, stances))
            if version.applied_ns <= now_ns - longest_ns:
                break
    return tuple(
        each
        for tenant, names in wanting.items()
        for each in untried(
            tenant,
            names,
            rules_of(after[tenant]),
            [(at_ns, rules_of(then[tenant]) if tenant in then else {}) for at_ns, then in history],
            before[tenant].registry.shadow_for_ns,
            now_ns,
        )
    )


def in_shadow_since(
    current: Configuration,
    state: StoredState,
    versions: Callable[[], Iterator[ConfigVersion]],
    tenant: str,
    most: int,
) -> dict[str, int]:
    """Since when each rule of a tenant is in shadow as it is now, by the name that trials have for it.

    `versions` are all that were ever in force, the newest first; so many of them are looked at.
    """
    now = rules_of(_stances(current, state)[tenant])
    names = [name for name, (mode, _) in now.items() if mode == "shadow"]

    def history() -> Iterator[tuple[int, Rules]]:
        for version in islice((each for each in versions() if each.canary is None), most):
            try:
                stances = _stances(load(version.files, CataloguePrices(_today())), state)
            except ConfigurationError:  # an older version of Aegis took it; nothing of it can be told
                stances = {}
            yield version.applied_ns, rules_of(stances[tenant]) if tenant in stances else {}

    if not names:
        return {}
    found = untried(tenant, names, now, history(), period_ns=2**62, now_ns=2**62)
    return {each.rule: each.since_ns for each in found if each.since_ns is not None}


def _findings_of(risk: Risk, tenant: str) -> Iterator[Finding]:
    return (finding for finding in risk.findings if finding.tenant == tenant)


def _stances(loaded: Configuration, state: StoredState) -> dict[str, Stance]:
    bodies: dict[Files, dict[str, PolicyBody]] = {}
    stances = {}
    for tenant, files in _policy_files(loaded).items():
        if files not in bodies:
            bodies[files] = policy_bodies(files)
        stored = state.tenants.get(tenant)
        keys = stored.keys if stored else ()
        stances[tenant] = Stance(
            registry=with_stored(loaded.registries[tenant], stored),
            policies=bodies[files],
            keyed=frozenset(key.agent for key in keys if key.revoked_ns is None),
        )
    return stances


def with_stored(registry: Registry, stored: TenantState | None) -> Registry:
    """A registry with the agents that were imported, the file's before them, and with what was done to limits."""
    if stored is None:
        return registry
    imported = {agent.id: agent for agent in stored.agents}
    return msgspec.structs.replace(
        registry,
        agents={**imported, **registry.agents},
        budgets=with_changes(registry.budgets, stored.limit_changes),
    )


def lint(loaded: Configuration) -> tuple[Problem, ...]:
    """What is wrong with a configuration's policies although they compile.

    Only what is to be applied is asked for this: a version in force goes on as it was understood when it was applied.
    """
    tenants: dict[PolicyFile, dict[str, Registry]] = {}
    for tenant, files in loaded.policies.items():
        for file in files:
            tenants.setdefault(file, {})[tenant] = loaded.registries[tenant]
    found = [
        file.placed(problem)
        for file, registries in sorted(tenants.items(), key=lambda item: item[0].path)
        for problem in lint_policies(registries, file.path, file.text)
    ]
    return (*found, *_unknown_in_routes(loaded))


def _unknown_in_routes(loaded: Configuration) -> Iterator[Problem]:
    """Routes of approvals that are about policies which there are not."""
    for tenant, registry in sorted(loaded.registries.items()):
        named = {name for route in registry.approvals.routes for name in route.policies}
        if not named:
            continue
        for name in sorted(named - compiled_policies(loaded, tenant).rules.keys()):
            message = (
                f"tenants.{tenant}.approvals.routes name policy `{name}`, and there is none; name its @id"
            )
            yield Problem(file=MAIN_FILE, message=message)


class PolicyOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """A policy in words and in Cedar, and where it was written: as such, or as a rule."""

    id: str
    effect: str
    mode: Mode
    message: str
    who: str
    what: str
    when: str
    is_rule: bool
    file: str
    line: int
    cedar: str


def policy_origins(loaded: Configuration, tenant: str) -> list[PolicyOrigin]:
    """A tenant's policies by id."""
    rules = {rule.id: rule for rule in loaded.rules[tenant]}
    found = []
    for file in loaded.policies[tenant]:
        for each in policy_texts(file.text):
            policy, rule = each.policy, rules.get(each.policy.id) if file.lines else None
            place = file.placed(Problem(file=file.path, line=each.line, message=""))
            found.append(
                PolicyOrigin(
                    id=policy.id,
                    effect=rule.effect if rule else policy.effect,
                    mode=policy.mode,
                    message=policy.reason,
                    who=rule.who if rule else each.who,
                    what=rule.what if rule else each.what,
                    when=rule.when if rule else "",
                    is_rule=rule is not None,
                    file=place.file or "",
                    line=place.line or 1,
                    cedar=each.text,
                )
            )
    return sorted(found, key=lambda each: each.id)


def prices_age() -> tuple[str, int | None]:
    """The catalogue's version, and how many days ago its newest price that holds began."""
    prices = CataloguePrices(_today())
    newest = prices.newest_start
    return prices.version, None if newest is None else (_today() - newest).days


def _today() -> date:
    return datetime.now(UTC).date()


def _end_ns(day: date | None) -> int:
    """The end of a day in UTC, in nanoseconds since 1970; far away where there is none."""
    if day is None:
        return 2**63 - 1
    following = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
    return int(following.timestamp()) * 1_000_000_000


def compiled_policies(loaded: Configuration, tenant: str) -> CompiledPolicies:
    """A tenant's policies, compiled."""
    return CompiledPolicies(_policy_files(loaded)[tenant])


def _policy_files(loaded: Configuration) -> dict[str, Files]:
    return {
        tenant: tuple((file.path, file.text) for file in files) for tenant, files in loaded.policies.items()
    }


class DirectoryLoader:
    """How a gateway worker reads the directory. What was not signed as it stands decides nothing: while the version in
    force is forged, the last one that was good goes on, with keys, agents and epochs as they are now.
    """

    def __init__(self, settings: Settings) -> None:
        """Read from the store that the settings name."""
        self._settings = settings
        self._database = store(settings, read_only=True)
        self._pepper = pepper(settings)
        self._prices = CataloguePrices(_today())
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
        if self._prices.valid_through is not None and _today() > self._prices.valid_through:
            self._prices = CataloguePrices(_today())
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
            self._compiled[place] = loaded, self._compiler.compile(_policy_files(loaded))
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
            registry = load(found.files, CataloguePrices(_today())).registries.get(tenant) if found else None
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


def observer(settings: Settings) -> Observer | None:
    """What spans and metrics are made by, for one process; None where no telemetry is sent.

    Raises:
        ConfigurationError: what sends it isn't installed, or can't be set up as the variables say.
    """
    wanted = settings.telemetry
    if not wanted:
        return None
    check_telemetry(settings)
    from aegis_gateway.adapters.telemetry.otlp import otlp_observer

    try:
        return otlp_observer(wanted.traces, wanted.metrics)
    except ValueError as fault:
        raise ConfigurationError(f"telemetry can't be sent as the OTEL_… variables say: {fault}") from fault


def check_telemetry(settings: Settings) -> None:
    """Make sure that what sends telemetry is installed where it is wanted, without loading it.

    Raises:
        ConfigurationError: it isn't.
    """
    if settings.telemetry and not _is_installed("opentelemetry.sdk", "opentelemetry.exporter.otlp"):
        raise ConfigurationError(
            "telemetry is wanted (OTEL_…), and what sends it isn't installed; install `aegis-gateway[otel]`, or unset "
            "those variables"
        )


def _is_installed(*modules: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:
        return False


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


class VerifiedRegistries:
    """Tenants as versions have them: each version is verified whenever it is asked for, and loaded once."""

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet."""
        self._settings = settings
        self._loaded: dict[str, Mapping[str, Registry]] = {}

    def __call__(self, version: ConfigVersion) -> Mapping[str, Registry]:
        """All tenants of a version.

        Raises:
            VersionForged: it is not as it was signed.
        """
        verify(version, signatures(self._settings))
        found = self._loaded.get(version.bundle_digest)
        if found is None:
            found = registries(version)
            kept = list(self._loaded.items())[-_VERSIONS_KEPT + 1 :]
            self._loaded = {**dict(kept), version.bundle_digest: found}
        return found

    def prepare(self, database: Store) -> None:
        """Load what is in force, so that nobody waits for it under a lock.

        Raises:
            VersionForged: it is not as it was signed.
        """
        for version in versions_in_force(database.rows):
            self(version)


def approval_outcomes(registries: VerifiedRegistries) -> Outcomes:
    """What is done when a request for a person's word is decided that isn't about a call, by its kind."""
    from aegis_gateway.application.adapting import limit_given
    from aegis_gateway.application.asked_increases import AskedIncreases
    from aegis_gateway.application.words import word_given

    return {
        "measure": word_given,
        "increase": AskedIncreases(registries),
        "limit": limit_given(registries),
    }


def outcomes_of(registries: VerifiedRegistries, database: Store, tenant: str, approval: str) -> Outcomes:
    """The same for one who is about to answer a request, with what that needs at hand before anything is held.

    Raises:
        VersionForged: what is in force is needed, and is not as it was signed.
    """
    asked = ApprovalReports(database.rows).approval(tenant, approval)
    if asked is not None and asked.kind in ("increase", "limit"):
        registries.prepare(database)
    return approval_outcomes(registries)


def reading(settings: Settings) -> Reading:
    """A connection that is only read from, opened when something is."""
    return Reading(lambda: store(settings, read_only=True))


def named_calls(settings: Settings) -> StoredNamedCalls:
    """What is known of calls that their callers named."""
    return StoredNamedCalls(reading(settings).query)


def reports(settings: Settings) -> Reports:
    """What is asked of the record while a gateway runs."""
    return Reports(reading(settings).query)


def balances(settings: Settings) -> StoredBalances:
    """What stands of budgets and rates, for those who only look."""
    return StoredBalances(reading(settings).query)


def sealer(settings: Settings) -> AesSealer:
    """What encrypts kept answers."""
    return AesSealer(pepper(settings))


def upstream() -> Upstream:
    """The way to the upstreams."""
    fault = planted_fault(os.environ)
    return PyreqwestUpstream() if fault is None else FaultyUpstream(PyreqwestUpstream(), fault)


def reference_secrets() -> ReferencedSecrets:
    """What resolves references to secrets."""
    return ReferencedSecrets()
