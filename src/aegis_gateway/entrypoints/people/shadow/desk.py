"""Rules in shadow as one reader sees them, what enforcing one would change, and how that is done in their name.

Rule 1: a reader sees the rules of tenants that they may read, and no trace of others.
Rule 2: enforcing takes the way of every change: it is checked, tested and appraised against what is in force, refused
        where it was not tried for long enough, and proposed where two people are needed.
Rule 3: nothing else changes with it: what the files then mean is compared with what is in force, rule by rule.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.shadow_figures import shadow_figures
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.configuration.unshadow import taken_out_of_shadow
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.people import may
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.shadow_digest import ShadowFigures
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.cli.configuration import Plan, against, put_in_force, refused_by_tests
from aegis_gateway.entrypoints.cli.session import Session
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.reader import Reader

LOOKED_BACK_DAYS = 7
_DAY_NS = 86_400 * 1_000_000_000


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """What enforcing a rule would change in place of version `based_on`; `untried` says why it is too early."""

    tenant: str
    rule: str
    plan: Plan
    based_on: int
    untried: str

    @property
    def changes(self) -> tuple[str, ...]:
        """What would change, thing by thing."""
        return tuple(f"{each.tenant or 'all tenants'}: {each}" for each in self.plan.changes)


class ShadowDesk:
    """The rules in shadow that one reader may see, on a store."""

    def __init__(self, office: Office, settings: Settings, store: Store, reader: Reader) -> None:
        """Look up nothing yet."""
        self._office = office
        self._store = store
        self._reader = reader
        self._session = Session(settings, store, reader.caller)
        self.readable = office.readable(reader.person)

    def figures(self, tenant: str) -> ShadowFigures:
        """What a tenant's rules in shadow would have done in the last days."""
        view, now_ns = self._office.tenants()[tenant], self._store.clock_ns()
        window = Window(label="", starts_ns=now_ns - LOOKED_BACK_DAYS * _DAY_NS, ends_ns=now_ns + 1)
        rules = view.policies.rules
        policies = [policy for _, policy in sorted(rules.items())]
        return shadow_figures(self._store, view.registry, policies, window)

    def may_apply(self, tenant: str) -> bool:
        """Whether the reader may put a configuration in force there, or propose it, as it looks."""
        return may(self._reader.person, "apply", tenant)

    def enforcement(self, tenant: str, rule: str) -> Enforcement:
        """What enforcing a rule would change.

        Raises:
            ConfigurationError: it can't be done from here, or not as things are; the message says what to do.
            NotPermitted: what is in force can't be told to be as it was signed.
        """
        config = self._session.state.config
        if config is None or self._session.state.canary is not None:
            raise ConfigurationError(
                "a canary is under way, or nothing is in force; `aegis canary` says more"
            )
        files = taken_out_of_shadow(config.files, tenant, rule)
        new = bootstrap.configuration(files)
        _refuse_more(self._session.configuration, new, tenant, rule)
        plan = Plan(directory=Path("DIR"), files=files, new=new, current=None, changes=(), warnings=())
        plan = against(self._session, plan)
        untried = "; ".join(
            f"it has to be in shadow for {duration_text(each.period_ns)}, as it is, before"
            for each in plan.untried
        )
        return Enforcement(tenant=tenant, rule=rule, plan=plan, based_on=config.version, untried=untried)

    def enforce(self, asked: Enforcement, based_on: int) -> ConfigVersion | Proposal:
        """Enforce a rule, or propose it; `based_on` is the version that the reader was shown.

        Raises:
            ConfigurationError: another version is in force by now, its tests fail, or it is too early.
            NotPermitted: the reader may not.
        """
        if asked.based_on != based_on:
            raise ConfigurationError(
                "another version was put in force meanwhile; look at what would change now"
            )
        if asked.untried:
            raise ConfigurationError(asked.untried)
        refused_by_tests(asked.plan)
        return put_in_force(
            self._session, asked.plan, f"enforce {asked.rule}, on the page of rules in shadow"
        )


def _refuse_more(old: Configuration, new: Configuration, tenant: str, rule: str) -> None:
    """Refuse files that mean more than that one rule is enforced."""
    kind, _, name = rule.partition(":")
    for each, registry in old.registries.items():
        section = {"budget": "budgets", "rate": "rates"}.get(kind) if each == tenant else None
        expected = registry
        if section is not None:
            things = dict(getattr(registry, section))
            things[name] = msgspec.structs.replace(things[name], mode="enforce")
            expected = msgspec.structs.replace(registry, **{section: things})
        rules = dict(bootstrap.compiled_policies(old, each).rules)
        if rule in rules and each == tenant:
            rules[rule] = msgspec.structs.replace(rules[rule], mode="enforce")
        same_rules = bootstrap.compiled_policies(new, each).rules == rules
        if new.registries.get(each) != expected or not same_rules:
            raise ConfigurationError(
                f"enforcing `{rule}` would change more than that in the files as they are; do it in your "
                "directory, and apply that: `aegis plan DIR`, `aegis apply DIR`"
            )
