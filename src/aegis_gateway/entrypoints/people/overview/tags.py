"""Spending by tags of agents: tags are the registry's, so sums by agent are put together by what it says now.

Rule: a call counts for the tag that its agent has now, whatever it had when it was called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aegis_gateway.adapters.usage_reports import UsageOf
from aegis_gateway.domain.registry import TAG, Registry
from aegis_gateway.domain.usage import UsageSum, together

TAGS_OFFERED = 12


def tags_of(registry: Registry) -> tuple[str, ...]:
    """The tags that agents of a tenant have, as groupings: `tag:NAME`, in order, at most so many."""
    names = {name for agent in registry.agents.values() for name in agent.tags}
    return tuple(f"{TAG}{name}" for name in sorted(names)[:TAGS_OFFERED])


def values_by_agent(registry: Registry, tag: str) -> dict[str, str]:
    """What each agent has of a tag; those that have none are absent."""
    name = tag.removeprefix(TAG)
    return {agent.id: agent.tags[name] for agent in registry.agents.values() if name in agent.tags}


def agents_with(registry: Registry, tag: str, value: str) -> tuple[str, ...]:
    """The agents that have a value of a tag."""
    return tuple(agent for agent, found in values_by_agent(registry, tag).items() if found == value)


def by_value(rows: Iterable[UsageOf], values: Mapping[str, str]) -> list[UsageOf]:
    """Sums by agent, put together by what agents have of a tag; the dearest first."""
    found: dict[str, UsageSum] = {}
    for row in rows:
        value = values.get(row.values[0], "")
        known = found.get(value)
        found[value] = row.sums if known is None else together(known, row.sums)
    made = [UsageOf(values=(value,), sums=sums) for value, sums in found.items()]
    return sorted(made, key=lambda each: (-each.sums.cost, -each.sums.calls, each.values))
