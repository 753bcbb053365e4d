"""What applying a configuration would change, in the units and words of the people who wrote it."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from aegis_gateway.configuration.describe import Fields, describe, describe_rules, describe_watch
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.domain.replication import too_many_agents
from aegis_gateway.domain.seed import are_told_apart_otherwise

Kind = Literal["added", "removed", "changed"]


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One setting before and after; None is not set."""

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        """`limit $20.00 → $25.00`."""
        if self.old is None:
            return f"{self.name} {self.new}"
        return f"{self.name} {self.old} → {self.new or 'none'}"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is added, removed or changed: `budget lending-day`. Without a tenant: everybody's."""

    kind: Kind
    tenant: str | None
    what: str
    fields: tuple[FieldChange, ...] = ()

    def __str__(self) -> str:
        """`changed budget lending-day: limit $20.00 → $25.00`."""
        fields = ", ".join(map(str, self.fields))
        return f"{self.kind} {self.what}: {fields}" if fields else f"{self.kind} {self.what}"


def difference(old: Configuration | None, new: Configuration) -> list[Change]:
    """What would change, tenant by tenant, in the order of the file."""
    before = old.registries if old is not None else {}
    watch = describe_watch(old.watch if old is not None else None), describe_watch(new.watch)
    changes = [*_compare(None, *watch), *_compare_policies(old, new)]
    for tenant in sorted(before.keys() | new.registries.keys()):
        changes += _compare(tenant, _described(old, tenant), _described(new, tenant))
    return changes


def _described(configuration: Configuration | None, tenant: str) -> dict[str, Fields]:
    if configuration is None:
        return {}
    return describe(configuration.registries.get(tenant)) | describe_rules(
        configuration.rules.get(tenant, ())
    )


def warnings(old: Configuration | None, new: Configuration) -> list[str]:
    """What is allowed and may still not be meant, as far as the two configurations tell."""
    before = old.registries if old is not None else {}
    found: list[str] = []
    for tenant, registry in sorted(new.registries.items()):
        if not new.policies.get(tenant):
            found.append(f"{tenant}: no policy holds here, so every call is refused; add some in policies/")
        found += (f"{tenant}: {words}" for words in _risks(registry))
        found += (
            f"{tenant}: rule `{rule.id}` is about {unknown}, and no agent in the file is that; imported ones may be"
            for rule in new.rules.get(tenant, ())
            for unknown in rule.unknown
        )
        if tenant in before:
            found += (f"{tenant}: {words}" for words in _consequences(before[tenant], registry))
    for tenant in sorted(before.keys() - new.registries.keys()):
        found.append(f"{tenant}: this tenant goes; its agents' keys stop working with the next call")
    return found


def _risks(registry: Registry) -> Iterator[str]:
    """What in a registry may not be meant."""
    if registry.proxy is not None:
        who = ", not even callers without a key" if registry.takes_strangers else ""
        yield f"`proxy` is set: everything passes and is recorded, and nothing is refused{who}"
    if registry.replication_mode == "shadow":
        owners = (agent.owner for agent in registry.agents.values())
        yield from (f"{words} (in shadow)" for words in too_many_agents(registry.replication, owners))
    for model in registry.models.values():
        if model.price is None:
            yield (
                f"model `{model.id}` has no price, so calls to it are refused; "
                "state its `price`, or `provider` and `upstream` as the catalogue has them"
            )
    for agent in registry.agents.values():
        home = registry.budgets[agent.budget]
        if home.mode == "shadow":
            yield f"agent `{agent.id}` lives on budget `{home.id}`, which is in shadow and bounds nothing"
        counted = home.quantity
        if counted != "usd":
            yield (
                f"agent `{agent.id}` lives on budget `{agent.budget}`, which counts `{counted}`: "
                "what its calls cost in dollars is bounded only by budgets that match it"
            )
    homes = {agent.budget for agent in registry.agents.values()}
    homes |= {team.default_budget for team in registry.teams.values() if team.default_budget is not None}
    for budget in registry.budgets.values():
        if not budget.match and budget.id not in homes:
            yield f"budget `{budget.id}` counts nobody: it has no `match`, and no agent here lives on it"
    for connector in registry.connectors.values():
        if connector.credential is not None and _is_in_the_clear(connector.base_url):
            yield f"connector `{connector.id}` sends its credential in the clear; use https"


def _consequences(old: Registry, new: Registry) -> Iterator[str]:
    """What a change brings with it that its fields don't show."""
    for agent in sorted(old.agents.keys() - new.agents.keys()):
        yield f"agent `{agent}` goes; if it has keys, they stop working with the next call"
    for name, budget in new.budgets.items():
        was = old.budgets.get(name)
        if was is None:
            continue
        if are_told_apart_otherwise(was, budget):
            yield f"budget `{name}` has other windows; what was spent in its current one counts, open calls at most"


def obstacles(old: Configuration | None, new: Configuration) -> list[str]:
    """Why a configuration cannot follow another one, though it is right by itself."""
    before = old.registries if old is not None else {}
    takers = [name for name, registry in sorted(new.registries.items()) if registry.takes_strangers]
    found = []
    if len(takers) > 1:
        names = " and ".join(f"`{name}`" for name in takers)
        found.append(
            f"tenants {names} both take unregistered callers, who can be only one's; leave it to one"
        )
    return found + [
        f"{tenant}: budget `{name}` counts in another unit under its old name, and the balance of its current "
        "window would be read in it; give the new budget a new id"
        for tenant, registry in sorted(new.registries.items())
        if tenant in before
        for name, budget in registry.budgets.items()
        if name in before[tenant].budgets
        and _unit(before[tenant].budgets[name], before[tenant]) != _unit(budget, registry)
    ]


def _unit(budget: Budget, registry: Registry) -> tuple[str, int]:
    return budget.quantity, registry.quantities[budget.quantity].scale


def _is_in_the_clear(base_url: str) -> bool:
    """Whether an address is plain HTTP to another machine."""
    parts = urlsplit(base_url)
    if parts.scheme != "http" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def _compare(tenant: str | None, old: Mapping[str, Fields], new: Mapping[str, Fields]) -> Iterator[Change]:
    for what in [*new, *(what for what in old if what not in new)]:
        before, after = old.get(what), new.get(what)
        fields = tuple(_compare_fields(before or {}, after or {}))
        if before is None:
            yield Change(kind="added", tenant=tenant, what=what, fields=fields)
        elif after is None:
            yield Change(kind="removed", tenant=tenant, what=what)
        elif fields:
            yield Change(kind="changed", tenant=tenant, what=what, fields=fields)


def _compare_fields(old: Fields, new: Fields) -> Iterator[FieldChange]:
    for name in [*new, *(name for name in old if name not in new)]:
        if old.get(name) != new.get(name):
            yield FieldChange(name=name, old=old.get(name), new=new.get(name))


def _compare_policies(old: Configuration | None, new: Configuration) -> Iterator[Change]:
    """Files that hold for everybody are told of once, however many tenants there are."""
    before = _policy_texts(old) if old is not None else {}
    after = _policy_texts(new)
    for (path, tenant), text in sorted(after.items()):
        what, was = f"policy file {path}", before.get((path, tenant))
        if was is None:
            yield Change(kind="added", tenant=tenant or None, what=what)
        elif was != text:
            lines = FieldChange(name="lines", old=None, new=_lines(was, text))
            yield Change(kind="changed", tenant=tenant or None, what=what, fields=(lines,))
    for path, tenant in sorted(before.keys() - after.keys()):
        yield Change(kind="removed", tenant=tenant or None, what=f"policy file {path}")


def _policy_texts(configuration: Configuration) -> dict[tuple[str, str], str]:
    return {
        (file.path, tenant if file.path.count("/") > 1 else ""): file.text
        for tenant, files in configuration.policies.items()
        for file in files
        if not file.lines  # rules are compared as such
    }


def _lines(old: str, new: str) -> str:
    marks = [mark[:1] for mark in difflib.ndiff(old.splitlines(), new.splitlines())]
    return f"+{marks.count('+')} −{marks.count('-')}"
