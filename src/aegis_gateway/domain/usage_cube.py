"""What was called and spent in a period, by all that calls have in common: what key figures are added up from.

Rule: every number of a period is a sum of the same rows, so none of them can disagree with another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from aegis_gateway.domain.kpi import Totals
from aegis_gateway.domain.outcome import OutcomeKey, OutcomeSum, added
from aegis_gateway.domain.registry import UNREGISTERED
from aegis_gateway.domain.usage import UsageKey, UsageSum, together


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """What calls and reported work with something in common come to. `work` is by result."""

    values: tuple[str, ...]
    sums: UsageSum
    work: dict[str, OutcomeSum]


class UsageCube:
    """A period's sums."""

    def __init__(
        self,
        usage: Iterable[tuple[UsageKey, UsageSum]],
        work: Iterable[tuple[OutcomeKey, OutcomeSum]] = (),
    ) -> None:
        """Take them, each combination once."""
        self._usage = tuple(usage)
        self._work = tuple(work)

    def totals(self) -> Totals:
        """All that figures are made of."""
        sums, active = UsageSum(), set[str]()
        model_cost = attributed_cost = violations = refused_cost = 0
        for key, each in self._usage:
            sums = together(sums, each)
            if each.settled_calls:
                active.add(key.agent)
            model_cost += each.cost if key.model else 0
            attributed_cost += each.cost if key.team != UNREGISTERED else 0
            if key.effect != "allow":
                violations += each.calls
                refused_cost += each.expected
        return Totals(
            sums=sums,
            active_agents=len(active),
            model_cost=model_cost,
            attributed_cost=attributed_cost,
            violations=violations,
            refused_cost=refused_cost,
            work=self.work(),
        )

    def work(self) -> dict[str, OutcomeSum]:
        """What was reported, by result."""
        found: dict[str, OutcomeSum] = {}
        for key, each in self._work:
            found[key.result] = added(found.get(key.result, OutcomeSum()), each)
        return found

    def by(self, dimension: str) -> list[Slice]:
        """What was called, spent and reported by one dimension, the dearest first. Work is nobody's model or tool."""
        usage: dict[str, UsageSum] = {}
        work: dict[str, dict[str, OutcomeSum]] = {}
        for key, each in self._usage:
            value = getattr(key, dimension)
            usage[value] = together(usage.get(value, UsageSum()), each)
        if dimension in OutcomeKey.__struct_fields__:
            for of, told in self._work:
                results = work.setdefault(getattr(of, dimension), {})
                results[of.result] = added(results.get(of.result, OutcomeSum()), told)
        found = [
            Slice(values=(value,), sums=usage.get(value, UsageSum()), work=work.get(value, {}))
            for value in usage.keys() | work.keys()
        ]
        return sorted(found, key=lambda each: (-each.sums.cost, -each.sums.calls, each.values))

    def violations(self, *dimensions: str) -> list[Slice]:
        """Calls that were not let through by some dimensions, most of them first."""
        return self._sliced(dimensions, lambda key: key.effect != "allow")

    def _sliced(self, dimensions: tuple[str, ...], holds: Callable[[UsageKey], bool]) -> list[Slice]:
        found: dict[tuple[str, ...], UsageSum] = {}
        for key, each in self._usage:
            if holds(key):
                values = tuple(getattr(key, name) for name in dimensions)
                found[values] = together(found.get(values, UsageSum()), each)
        slices = [Slice(values=values, sums=sums, work={}) for values, sums in found.items()]
        return sorted(slices, key=lambda each: (-each.sums.calls, each.values))
