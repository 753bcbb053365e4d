"""Configurations as they are loaded and compiled, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

import msgspec

from aegis_gateway.adapters.catalogue import CataloguePrices
from aegis_gateway.adapters.cedar import CompiledPolicies, Files, PolicyCompiler
from aegis_gateway.adapters.cedar_lint import lint as lint_policies
from aegis_gateway.adapters.cedar_listing import policy_texts
from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.application.ports import TenantState
from aegis_gateway.configuration.load import MAIN_FILE, Configuration, PolicyFile, load
from aegis_gateway.domain.budget_family import with_changes
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.errors import ConfigurationError, Problem
from aegis_gateway.domain.registry import Registry


def of_version(version: ConfigVersion) -> Configuration:
    """What a version configures, at the prices of today.

    Raises:
        ConfigurationError: it can't be loaded any more.
    """
    return load(version.files, CataloguePrices(today()))


def registries(version: ConfigVersion) -> Mapping[str, Registry]:
    """A version's tenants, as it configures them.

    Raises:
        ConfigurationError: it can't be loaded any more.
    """
    return of_version(version).registries


def configuration(files: dict[str, str]) -> Configuration:
    """Load and compile a configuration, so that whatever is wrong with it now is known.

    Raises:
        ConfigurationError: something is wrong, all of it named.
    """
    loaded = load(files, CataloguePrices(today()), SystemClock().now_ns())
    try:
        PolicyCompiler().compile(policy_files(loaded))
    except ConfigurationError as fault:
        written = {file.path: file for each in loaded.policies.values() for file in each}
        placed = (written[each.file].placed(each) for each in fault.problems)
        raise ConfigurationError(problems=tuple(placed)) from None
    return loaded


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
    prices = CataloguePrices(today())
    newest = prices.newest_start
    return prices.version, None if newest is None else (today() - newest).days


def today() -> date:
    """The day in UTC, by which prices are looked up."""
    return datetime.now(UTC).date()


def compiled_policies(loaded: Configuration, tenant: str) -> CompiledPolicies:
    """A tenant's policies, compiled."""
    return CompiledPolicies(policy_files(loaded)[tenant])


def policy_files(loaded: Configuration) -> dict[str, Files]:
    """The files of each tenant's policies, as they are compiled."""
    return {
        tenant: tuple((file.path, file.text) for file in files) for tenant, files in loaded.policies.items()
    }
