"""Enforcing one rule that is in shadow: what that would change, and doing it.

Rule 1: it takes the way of every change: it is checked, tested and appraised against what is in force, refused where it
        was not tried for long enough, and proposed where two people are needed.
Rule 2: nothing else changes with it: what the files then mean is compared with what is in force, rule by rule.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.configuration.unshadow import taken_out_of_shadow
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.entrypoints.cli.configuration import Plan, against, put_in_force, refused_by_tests
from aegis_gateway.entrypoints.cli.session import Session


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


def enforcement_of(session: Session, tenant: str, rule: str) -> Enforcement:
    """What enforcing a rule would change.

    Raises:
        ConfigurationError: it can't be done from here, or not as things are; the message says what to do.
        NotPermitted: what is in force can't be told to be as it was signed.
    """
    config = session.state.config
    if config is None or session.state.canary is not None:
        raise ConfigurationError("a canary is under way, or nothing is in force; `aegis canary` says more")
    files = taken_out_of_shadow(config.files, tenant, rule)
    new = bootstrap.configuration(files)
    _refuse_more(session.configuration, new, tenant, rule)
    plan = Plan(directory=Path("DIR"), files=files, new=new, current=None, changes=(), warnings=())
    plan = against(session, plan)
    untried = "; ".join(
        f"it has to be in shadow for {duration_text(each.period_ns)}, as it is, before"
        for each in plan.untried
    )
    return Enforcement(tenant=tenant, rule=rule, plan=plan, based_on=config.version, untried=untried)


def enforce(session: Session, asked: Enforcement, note: str) -> ConfigVersion | Proposal:
    """Enforce a rule, or propose it; `note` says how it came to that.

    Raises:
        ConfigurationError: its tests fail, or it is too early.
        NotPermitted: whoever asks may not.
    """
    if asked.untried:
        raise ConfigurationError(asked.untried)
    refused_by_tests(asked.plan)
    return put_in_force(session, asked.plan, note)


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
