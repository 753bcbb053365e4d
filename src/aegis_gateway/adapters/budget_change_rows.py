"""Changes of limits as rows: written and read under the lock, and what of them workers need."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.budget_change import BudgetChange, StoredLimitChange
from aegis_gateway.domain.limit_change import LimitChange

_FIELDS = BudgetChange.__struct_fields__

_SELECT = "select {columns} from budget_change where tenant = ? and {wanted} order by number"
_INSERT = "insert into budget_change ({columns}) values ({values})"
_LAST_CONFIGURED = """
select coalesce(max(number), 0) from budget_change where tenant = ? and budget = ? and kind = 'configured'
"""
_LASTING = """
 where ends_ns is null and kind <> 'configured' {of}
   and number > (select coalesce(max(number), 0) from budget_change as version
                  where version.tenant = budget_change.tenant and version.budget = budget_change.budget
                    and version.kind = 'configured')
"""
_LIMIT_CHANGES = """
select tenant, budget, unit, configured, cast(sum(amount) as bigint) as amount, max(starts_ns) as starts_ns,
       cast(null as bigint) as ends_ns
  from budget_change {lasting} and starts_ns <= at_ns
 group by tenant, budget, unit, configured
union all
select tenant, budget, unit, configured, amount, starts_ns, ends_ns
  from budget_change {lasting} and starts_ns > at_ns
union all
select budget_change.tenant, budget, unit, configured, amount, starts_ns, ends_ns
  from budget_change join tenant_head on tenant_head.tenant = budget_change.tenant
 where ends_ns is not null and ends_ns > last_ns {of}
"""
"""What of changes still matters: what lasts and has begun is one sum for each limit that it was made to, and what was
over by the tenant's last clock is left out. The clock of no later call is before that.
"""


def selected(wanted: str) -> str:
    """A query for a tenant's changes, in the order in which they were made; `wanted` says which."""
    return _SELECT.format(columns=", ".join(_FIELDS), wanted=wanted)


def _limit_changes(of: str) -> str:
    return _LIMIT_CHANGES.format(lasting=_LASTING.format(of=of), of=of)


_HISTORY = f"{selected('budget = ?')} desc limit ?"
"""What was done to one budget's limit, the newest first."""
_ALL = selected("number > 0")
"""All that was ever done to limits of a tenant."""
LIMIT_CHANGES = _limit_changes("")
_LIMIT_CHANGES_OF_TENANT = _limit_changes("and budget_change.tenant = ?")
_SAVE = _INSERT.format(columns=", ".join(_FIELDS), values=", ".join("?" for _ in _FIELDS))


def budget_change(row: tuple[Any, ...]) -> BudgetChange:
    """A change from its row; the columns stand in the order of the fields."""
    return BudgetChange(**dict(zip(_FIELDS, row, strict=True)))


def limit_change(row: tuple[Any, ...]) -> StoredLimitChange:
    """What a worker needs of changes, from a row of `LIMIT_CHANGES`."""
    _, budget, unit, configured, amount, starts_ns, ends_ns = row
    return StoredLimitChange(
        budget=budget,
        unit=unit,
        configured=configured,
        change=LimitChange(amount=amount, starts_ns=starts_ns, ends_ns=ends_ns),
    )


def history_of(
    read: Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]], tenant: str, budget: str, limit: int
) -> list[BudgetChange]:
    """What was done to one budget's limit, the newest first; `read` is a store's way to read rows."""
    return [budget_change(row) for row in read(_HISTORY, (tenant, budget, limit))]


def changes_of(
    read: Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]], tenant: str
) -> list[BudgetChange]:
    """All that was ever done to limits of a tenant, in order; `read` is a store's way to read rows."""
    return [budget_change(row) for row in read(_ALL, (tenant,))]


class BudgetChangeRows(Statements):
    """Changes of limits in a transaction."""

    def next_budget_change(self, tenant: str) -> int:
        """The number of the next change in a tenant."""
        sql = "select coalesce(max(number), 0) from budget_change where tenant = ?"
        ((last,),) = self._rows(sql, (tenant,))
        return int(last) + 1

    def limit_changes(self, tenant: str) -> list[StoredLimitChange]:
        """What of a tenant's changes still matters."""
        return [limit_change(row) for row in self._rows(_LIMIT_CHANGES_OF_TENANT, (tenant,) * 3)]

    def budget_changes_with(self, tenant: str, number: int) -> list[BudgetChange]:
        """A change and those that were made in one act with it; none where there is none of that number."""
        return [
            budget_change(row)
            for found in self._rows(selected("number = ?"), (tenant, number))
            for row in self._rows(selected("sequence = ?"), (tenant, budget_change(found).sequence))
        ]

    def budget_change_undoing(self, tenant: str, number: int) -> BudgetChange | None:
        """The change that took back another one, if there is one."""
        return next(
            (budget_change(row) for row in self._rows(selected("undoes = ?"), (tenant, number))), None
        )

    def last_configured(self, tenant: str, budget: str) -> int:
        """The number of the last change by which a version configured a budget's limit anew; 0 if none did."""
        ((last,),) = self._rows(_LAST_CONFIGURED, (tenant, budget))
        return int(last)

    def save_budget_changes(self, changes: Collection[BudgetChange]) -> None:
        """Write new ones; they are never changed."""
        for change in changes:
            self._do(_SAVE, msgspec.structs.astuple(change))
