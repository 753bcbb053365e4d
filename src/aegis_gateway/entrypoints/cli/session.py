"""What a command works on: a store that is opened for it, and what is in force there."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.secrets import ReferencedSecrets
from aegis_gateway.adapters.spending import StoredSpending
from aegis_gateway.application.absences import Absences
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.amending import InForce
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.asks import Asks
from aegis_gateway.application.budget_changes import BudgetChanges
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.incidents import Incidents
from aegis_gateway.application.key_holds import KeyHolds
from aegis_gateway.application.operators import Caller, Operator, Operators
from aegis_gateway.application.people import People
from aegis_gateway.application.ports import Signatures, StoredState
from aegis_gateway.application.proposals import Proposals
from aegis_gateway.application.redelivering import Redelivering
from aegis_gateway.application.report_sending import ReportSending
from aegis_gateway.application.reviewing import Reviews
from aegis_gateway.application.seeding import Seeding
from aegis_gateway.application.versions import verify
from aegis_gateway.configuration.settings import Settings, read_settings
from aegis_gateway.domain.config_version import Watch
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.domain.people import Permission
from aegis_gateway.domain.registry import Agent, Registry
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.domain.spelling import did_you_mean
from aegis_gateway.domain.trials import Untried

if TYPE_CHECKING:
    from aegis_gateway.application.ports import Store
    from aegis_gateway.configuration.load import Configuration

_NAMES_LISTED_MAX = 8
NOTHING_IN_FORCE = (
    "no configuration is in force yet; `aegis init DIR` writes an example, `aegis apply DIR` applies it"
)


class Session:
    """One command's hold on an installation. What it reads of the registry it reads once."""

    def __init__(self, settings: Settings, store: Store, who: Caller | None = None) -> None:
        """Work on an opened store, in the name of whoever runs the command, or of `who`, if somebody is named."""
        self.settings = settings
        self._who = who
        self.store = store
        self.reports = Reports(store.query)
        self.clock = SystemClock()

    @cached_property
    def state(self) -> StoredState:
        """What is stored beside the ledger, as of the first look."""
        return self.store.state()

    @cached_property
    def configuration(self) -> Configuration:
        """The configuration in force.

        Raises:
            ConfigurationError: none was applied yet.
            VersionForged: it is not as it was signed.
        """
        if self.state.config is None:
            raise ConfigurationError(NOTHING_IN_FORCE)
        from aegis_gateway import bootstrap

        self.verify()
        return bootstrap.configuration(self.state.config.files)

    @cached_property
    def signatures(self) -> Signatures:
        """What signs configurations and verifies them; the key is made only where nothing was ever signed.

        Raises:
            ConfigurationError: there is no key.
        """
        from aegis_gateway import bootstrap

        return bootstrap.signatures(self.settings, make=self.state.config is None)

    def verify(self) -> None:
        """Make sure that what is in force is as it was signed.

        Raises:
            VersionForged: it is not.
        """
        for version in (self.state.config, self.state.canary):
            if version is not None:
                verify(version, self.signatures)

    def tenant(self, given: str | None) -> str:
        """The tenant that is meant: the one that is named, or the only one there is.

        Raises:
            ConfigurationError: there is none of that name, none at all, or more than one.
        """
        known = sorted(self.state.tenants)
        if given is not None:
            if given not in known:
                raise ConfigurationError(f"there is no tenant `{given}`; {instead(given, known)}")
            return given
        if self.state.config is not None:
            known = sorted(self.configuration.registries) or known
        if not known:
            raise ConfigurationError(NOTHING_IN_FORCE)
        if len(known) > 1:
            raise ConfigurationError(
                f"there are {len(known)} tenants; name one with --tenant: {listed(known)}"
            )
        return known[0]

    def configured(self, tenant: str) -> Registry:
        """A tenant's registry as the configuration file has it.

        Raises:
            ConfigurationError: there is no configuration, or the tenant is not in it any more.
        """
        registry = self.configuration.registries.get(tenant)
        if registry is None:
            raise ConfigurationError(
                f"tenant `{tenant}` is not in the configuration any more; only its record is left"
            )
        return registry

    def imported(self, tenant: str) -> dict[str, Agent]:
        """A tenant's agents that are not in the configuration file, by id."""
        stored = self.state.tenants.get(tenant)
        return {agent.id: agent for agent in stored.agents} if stored else {}

    def registry(self, tenant: str) -> Registry:
        """A tenant's registry with its imported agents, and with what was done to limits."""
        from aegis_gateway import bootstrap

        return bootstrap.with_stored(self.configured(tenant), self.state.tenants.get(tenant))

    def view(self, tenant: str) -> TenantView:
        """A tenant as a gateway would see it now.

        Raises:
            ConfigurationError: there is no configuration, or the tenant is not in it any more.
        """
        from aegis_gateway import bootstrap

        self.configured(tenant)
        return bootstrap.tenant_view(self.configuration, self.state, tenant, b"")

    @property
    def watch(self) -> Watch | None:
        """When what is in force says that a version is taken back by itself. So it says of the one that drops this."""
        try:
            return self.configuration.watch if self.state.config is not None else None
        except VersionForged:
            return None

    def seeding(self, new: Mapping[str, Registry]) -> list[Seeding]:
        """What a configuration changes about the windows of budgets, read as of now."""
        if self.state.config is None:
            return []
        try:
            old: Mapping[str, Registry] = self.configuration.registries
        except VersionForged:
            old = {}
        spending, now_ns = StoredSpending(self.store.query), self.clock.now_ns()
        return [
            Seeding(spending, old.get(name), registry, self.imported(name), now_ns)
            for name, registry in new.items()
            if name in self.state.tenants
        ]

    @cached_property
    def four_eyes(self) -> frozenset[str]:
        """The tenants in which two people are needed for what widens: all, where what is in force can't be trusted."""
        if self.state.config is None:
            return frozenset()
        try:
            registries = self.configuration.registries
        except VersionForged:
            return frozenset(self.state.tenants)
        return frozenset(tenant for tenant, registry in registries.items() if registry.four_eyes)

    def appraisal(self, new: Configuration) -> Appraisal:
        """What a configuration would widen or narrow in place of what is in force."""
        from aegis_gateway import bootstrap

        try:
            old = self.configuration if self.state.config is not None else None
        except VersionForged:
            old = None
        return bootstrap.appraisal(old, new, self.state)

    def untried(self, new: Configuration) -> tuple[Untried, ...]:
        """What would act before it has been in shadow for as long as its tenant demands."""
        from aegis_gateway import bootstrap

        try:
            old = self.configuration
        except VersionForged:
            return ()
        return bootstrap.untried_rules(
            old, new, self.state, self.reports.newest_versions, self.clock.now_ns()
        )

    def administration(self) -> Administration:
        """The operators' use cases, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
        """
        return Administration(self.store, self._pepper(), self.signatures, os.urandom, self._who or caller())

    def incidents(self) -> Incidents:
        """The use cases about incidents, in the name of whoever runs the command.

        Raises:
            ConfigurationError: the pepper that keys were issued under is gone.
        """
        return Incidents(self.store, self._pepper(), caller())

    def reviews(self) -> Reviews:
        """Recording reviews, in the name of whoever runs the command.

        Raises:
            ConfigurationError: the pepper that keys were issued under is gone.
        """
        return Reviews(self.store, self._pepper(), caller())

    def report_sending(self) -> ReportSending:
        """Having reports sent, in the name of whoever runs the command.

        Raises:
            ConfigurationError: the pepper that keys were issued under is gone.
        """
        return ReportSending(self.store, self._pepper(), caller())

    def key_holds(self) -> KeyHolds:
        """Holding and restoring keys by hand, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
        """
        return KeyHolds(self.store, self._pepper(), caller())

    def proposals(self) -> Proposals:
        """What is answered where two people are needed, in the name of whoever runs the command, or is named.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
        """
        return Proposals(self.store, self._pepper(), self._who or caller())

    def in_force(self, tenant: str) -> InForce:
        """A tenant as the configuration in force has it, for those who change its limits.

        Raises:
            ConfigurationError: there is no configuration, or the tenant is not in it any more.
        """
        registry, config = self.configured(tenant), self.state.config
        assert config is not None, "a configuration was loaded from it"
        newest = self.state.canary or config
        return InForce(registry=registry, version=config.version, newest=newest.version)

    def in_force_with_changes(self, tenant: str) -> InForce:
        """The same, with what was done to limits, for those who only look."""
        return msgspec.structs.replace(self.in_force(tenant), registry=self.registry(tenant))

    def budget_changes(self, tenant: str) -> BudgetChanges:
        """The use cases about a tenant's limits, in the name of whoever runs the command.

        Raises:
            ConfigurationError: there is no configuration, or the pepper that keys were issued under is gone.
        """
        return BudgetChanges(self.store, self._pepper(), caller(), self.in_force(tenant))

    def approvals(self, tenant: str, approval: str) -> Approvals:
        """People's words on a request, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
            VersionForged: the answer needs what is in force, and that is not as it was signed.
        """
        from aegis_gateway import bootstrap

        registries = bootstrap.VerifiedRegistries(self.settings)
        outcomes = bootstrap.outcomes_of(registries, self.store, tenant, approval)
        return Approvals(self.store, self._pepper(), caller(), outcomes)

    def asks(self) -> Asks:
        """Asking for more, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
            VersionForged: what is in force is not as it was signed.
        """
        from aegis_gateway import bootstrap

        registries = bootstrap.VerifiedRegistries(self.settings)
        registries.prepare(self.store)
        return Asks(self.store, self._pepper(), caller(), registries)

    def redelivering(self) -> Redelivering:
        """What is done about notifications, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
        """
        return Redelivering(self.store, self._pepper(), caller())

    def people(self) -> People:
        """The use cases about people, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
        """
        return People(self.store, self._pepper(), os.urandom, caller(), has_four_eyes=bool(self.four_eyes))

    def absences(self) -> Absences:
        """What is said of who is away, in the name of whoever runs the command.

        Raises:
            ConfigurationError: keys were issued under a pepper that is not there any more.
        """
        return Absences(self.store, self._pepper(), caller())

    def operator(self, permission: Permission, tenant: str) -> Operator:
        """Whoever runs the command, if they may do this in a tenant.

        Raises:
            NotPermitted: they may not.
        """
        with Operators(self.store, self._pepper(), caller()).act(permission, [tenant]) as act:
            act.require([tenant])
            return act.operator

    def _pepper(self) -> bytes:
        from aegis_gateway import bootstrap

        check_pepper(self)
        return bootstrap.pepper(self.settings)


@contextmanager
def opened(store_url: str | None, *, writable: bool = False) -> Iterator[Session]:
    """Open the store that is meant, for reading or for changing it.

    Raises:
        StoreNotMade: it is to be read, and is not there yet.
        StoreError: it cannot be used.
    """
    from aegis_gateway import bootstrap  # here: it takes half a second, and `--help` needs nothing of it

    settings = settings_for(store_url)
    store = bootstrap.store(settings, read_only=not writable)
    try:
        yield Session(settings, store)
    finally:
        store.close()


def settings_for(store_url: str | None, **more: str) -> Settings:
    """The settings, with what the command line says before what the environment says."""
    environment = {**os.environ, **more}
    if store_url is not None:
        environment["AEGIS_STORE"] = store_url
    return read_settings(environment)


def caller() -> Caller:
    """Who runs the command: by their token (`AEGIS_TOKEN`, itself or as `file:PATH`), and their name on this machine.

    Raises:
        ConfigurationError: the file with the token can't be read.
    """
    given = os.environ.get("AEGIS_TOKEN", "").strip()
    if given.startswith(("file:", "env:")):
        given = ReferencedSecrets().resolve(given)
    return Caller(local_name=_local_name(), token=given or None)


def _local_name() -> str:
    """`AEGIS_ACTOR`, or else the user of this machine."""
    named = os.environ.get("AEGIS_ACTOR", "").strip()
    if named:
        return named[:200]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that no user has
        return f"uid-{os.getuid()}"


def check_pepper(session: Session) -> None:
    """Refuse to make a new pepper where keys or tokens were issued under another one: they would all stop working.

    Raises:
        ConfigurationError: the pepper's file is gone.
    """
    settings = session.settings
    kind, _, name = settings.pepper.partition(":")
    issued = sum(len(tenant.keys) for tenant in session.state.tenants.values())
    issued += len(session.reports.tokens())
    if kind == "file" and issued and not Path(name).exists():
        keys = "1 key was" if issued == 1 else f"{issued} keys were"
        raise ConfigurationError(
            f"`{settings.pepper}` is not there, and {keys} issued under it; put it back, "
            "or say where it is with AEGIS_PEPPER"
        )


def refuse_unknown_budget(budget_id: str, registry: Registry) -> None:
    """Go on only if there is such a budget.

    Raises:
        ConfigurationError: there is none; the message says what to write instead.
    """
    if budget_id not in registry.budgets:
        raise ConfigurationError(
            f"there is no budget `{budget_id}`; {instead(budget_id, sorted(registry.budgets))}"
        )


def instead(written: str, known: list[str]) -> str:
    """What to write instead of a name that nothing has."""
    close = did_you_mean(written, known)
    if close is not None:
        return f"did you mean `{close}`?"
    return f"there is {listed(known)}" if known else "there is none yet"


def listed(names: list[str]) -> str:
    """Names in a sentence, the first few of them."""
    more = len(names) - _NAMES_LISTED_MAX
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES_LISTED_MAX])
    return f"{shown} and {more} more" if more > 0 else shown
