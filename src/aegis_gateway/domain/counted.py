"""Whose calls count on a budget, as far as that can be told from sums of calls (`usage.py`), which tell neither key nor
customer.

Rule 1: what is told is what `application/claims.py` decides on for calls of the agents themselves, by the registry as
        it is now. Calls in runs that they delegated to others count on it as well, which no sum tells.
Rule 2: which of its balances a call counts on is of no interest here: all of them together are the budget.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from aegis_gateway.domain.registry import TAG, Agent, Budget, Dimension, Registry
from aegis_gateway.domain.usage import UsageKey

Summed = Literal["team", "project", "agent", "environment", "connector", "tool", "model"]
"""What calls are told apart by in sums as they are on budgets."""

SUMMED: tuple[Summed, ...] = get_args(Summed)

_AT_TIMES: tuple[Summed, ...] = ("project", "model")
"""What calls can be without, in sums an empty text; all have the others."""

_ALWAYS = ("tenant", "key", "run")
"""What all calls have, so that a split by it leaves none out."""


class Alike(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that are `equal` to some values and `have` some others, of some `agents`: of any, where that is None."""

    equal: tuple[tuple[Summed, str], ...] = ()
    have: tuple[Summed, ...] = ()
    agents: frozenset[str] | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Whose calls count: all those of its `residents`, who live on it, and of others those that are `alike`, if any."""

    residents: frozenset[str]
    alike: Alike | None = None

    def holds(self, key: UsageKey) -> bool:
        """Whether calls that are added up together count."""
        if key.agent in self.residents:
            return True
        alike = self.alike
        return (
            alike is not None
            and all(getattr(key, name) == wanted for name, wanted in alike.equal)
            and all(getattr(key, name) for name in alike.have)
            and (alike.agents is None or key.agent in alike.agents)
        )


def counted_of(budget: Budget, registry: Registry) -> Counted | None:
    """Whose calls count on a budget; None where sums don't tell it: it is matched by key, run or customer, or split by
    customer, whom not every call has.
    """
    residents = frozenset(agent.id for agent in registry.agents.values() if agent.budget == budget.id)
    if not budget.match:
        return Counted(residents=residents)
    equal: list[tuple[Summed, str]] = []
    have: list[Summed] = []
    tags: list[tuple[str, str | None]] = []
    for dimension, wanted in budget.match:
        summed = _summed(dimension)
        if dimension == "tenant":
            if wanted != registry.tenant:
                return Counted(residents=residents)
        elif dimension.startswith(TAG):
            tags.append((dimension.removeprefix(TAG), wanted))
        elif summed is None:
            return None
        else:
            equal.append((summed, wanted))
            if summed in _AT_TIMES:  # an empty text is none of it, and no value
                have.append(summed)
    for dimension in budget.per:
        summed = _summed(dimension)
        if dimension.startswith(TAG):
            tags.append((dimension.removeprefix(TAG), None))
        elif summed in _AT_TIMES:
            have.append(summed)
        elif summed is None and dimension not in _ALWAYS:
            return None
    agents = frozenset(agent.id for agent in registry.agents.values() if _has(agent, tags)) if tags else None
    return Counted(
        residents=residents,
        alike=Alike(equal=tuple(equal), have=tuple(dict.fromkeys(have)), agents=agents),
    )


def _summed(dimension: Dimension) -> Summed | None:
    return next((each for each in SUMMED if each == dimension), None)


def _has(agent: Agent, tags: list[tuple[str, str | None]]) -> bool:
    """Whether an agent has all of some tags, with the value that is wanted of them."""
    return all(name in agent.tags and wanted in (None, agent.tags[name]) for name, wanted in tags)
