"""Seeding: the balances of budgets whose windows a new configuration changes, worked out when it is applied.

Rule: what was settled long ago is read before anything is locked; under the lock only what has been settled since, and
what is open. So calls don't wait for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from aegis_gateway.application.claims import scope_of
from aegis_gateway.application.ports import LockedTenants, StandingRow
from aegis_gateway.application.runs import KnownRun, recorded_run
from aegis_gateway.domain.budget_family import reconfigured
from aegis_gateway.domain.registry import TAG, Agent, Budget, Dimension, Registry
from aegis_gateway.domain.seed import Spent, are_told_apart_otherwise, seeds


class SpentCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call's part in budgets, by budget: scope and window that it was admitted under, and the amount.

    `values` is what the call is in each dimension; tags are not among them.
    """

    call: str
    admitted_ns: int
    is_open: bool
    values: dict[Dimension, str]
    legs: tuple[tuple[str, str, str, int], ...]


class Spending(Protocol):
    """What calls have spent, as the record has it. May block."""

    def last_sequence(self, tenant: str) -> int:
        """Where the tenant's record ends."""

    def settled(self, tenant: str, after: int, until: int, since_ns: int) -> Iterable[SpentCall]:
        """Calls admitted since an instant whose settlement stands in a stretch of the record."""

    def unsettled(self, tenant: str) -> Iterable[SpentCall]:
        """Calls that are open."""


class Seeding:
    """What a new configuration changes about the windows of one tenant's budgets."""

    def __init__(
        self,
        spending: Spending,
        old: Registry | None,
        new: Registry,
        imported: Mapping[str, Agent],
        now_ns: int,
    ) -> None:
        """Read what was settled until now. `imported` are the agents that are not in the configuration.

        Where nobody can say any more what held before (`old`), all budgets are worked out, which is right for each.
        """
        self._spending = spending
        self._registry = new
        self.limits = reconfigured({} if old is None else old.budgets, new.budgets)
        """The budgets whose limits are other ones by this."""
        self._agents = {**imported, **new.agents}
        self._budgets = [
            budget
            for name, budget in new.budgets.items()
            if old is None or (name in old.budgets and are_told_apart_otherwise(old.budgets[name], budget))
        ]
        self._same_split = {
            budget.id
            for budget in self._budgets
            if old is not None and old.budgets[budget.id].per == budget.per
        }
        self._since_ns = min((_begins_ns(budget, now_ns) for budget in self._budgets), default=0)
        self._spent: dict[str, list[Spent]] = defaultdict(list)
        self._until = 0
        if self._budgets:
            self._until = spending.last_sequence(new.tenant)
            self._add(spending.settled(new.tenant, 0, self._until, self._since_ns))

    @property
    def tenant(self) -> str:
        """Whose budgets they are."""
        return self._registry.tenant

    @property
    def budgets(self) -> tuple[str, ...]:
        """The budgets whose windows change, by id."""
        return tuple(budget.id for budget in self._budgets)

    def rows(self, now_ns: int) -> list[StandingRow]:
        """The balances as of now, under the tenant's lock."""
        if not self._budgets:
            return []
        tenant = self._registry.tenant
        last = self._spending.last_sequence(tenant)
        self._add(self._spending.settled(tenant, self._until, last, self._since_ns))
        self._add(self._spending.unsettled(tenant))
        return [row for budget in self._budgets for row in self._rows(budget, now_ns)]

    def _rows(self, budget: Budget, now_ns: int) -> Iterator[StandingRow]:
        window = budget.window(now_ns)
        for scope, standing in seeds(budget, window, self._spent[budget.id], now_ns).items():
            yield StandingRow(
                tenant=self._registry.tenant,
                budget=budget.id,
                scope=scope,
                window=window,
                quantity=budget.quantity,
                standing=standing,
            )

    def _add(self, calls: Iterable[SpentCall]) -> None:
        budgets = {budget.id: budget for budget in self._budgets}
        for call in calls:
            run = recorded_run(call.values.get("run", ""))
            for name, scope, window, amount in call.legs:
                budget = budgets.get(name)
                if budget is not None:
                    self._spent[name].append(
                        Spent(
                            # A delegated call counts once for its agent and once for each who stands above it.
                            scope=scope
                            if run.delegators and name in self._same_split
                            else scope_of(budget.per, self._values(call, run)),
                            leg=(scope, window),
                            amount=amount,
                            is_open=call.is_open,
                            admitted_ns=call.admitted_ns,
                        )
                    )

    def _values(self, call: SpentCall, run: KnownRun) -> dict[Dimension, str]:
        agent = self._agents.get(call.values["agent"])
        tags = agent.tags if agent is not None else {}
        values = {**call.values, **{f"{TAG}{name}": value for name, value in tags.items()}}
        if "run" in values:
            values["run"] = run.scope
        return values


def with_notes(rows: Sequence[StandingRow], locked: LockedTenants) -> list[StandingRow]:
    """Seeds with what is noted of their windows already: what was fixed when one opened stays."""
    keys = {(row.tenant, (row.budget, row.scope, row.window.label)): row for row in rows}
    stands = locked.standings(keys) if keys else {}
    return [
        row
        if key not in stands
        else msgspec.structs.replace(
            row, standing=msgspec.structs.replace(row.standing, notes=stands[key].notes)
        )
        for key, row in keys.items()
    ]


def _begins_ns(budget: Budget, now_ns: int) -> int:
    """From when on spending can count in a budget's current window; a rolling one's buckets are at most a day wide."""
    if budget.length_ns:
        return now_ns - budget.length_ns - 86_400 * 1_000_000_000
    return budget.window(now_ns).starts_ns
