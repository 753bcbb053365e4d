"""What was done lately to limits that follow use, as rows: read under the lock, and by whoever only looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aegis_gateway.adapters.budget_change_rows import budget_change, selected
from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.adaptation_turn import Lately
from aegis_gateway.domain.threshold import OF_BUDGET

_LATELY = selected(
    "budget = ? and ends_ns is null and (at_ns >= ? or number = ("
    "select max(number) from budget_change where tenant = ? and budget = ? and ends_ns is null))"
)
"""The last lasting change of a budget's limit, and all since an instant. By the index on a budget's changes."""
_KIND = "select kind from budget_change where tenant = ? and number = ?"
_INCIDENT = """
select 1 from incident where tenant = ? and closed_ns is null and subject like ? escape '!' limit 1
"""
"""Whether an incident of a budget is open. By the index on open incidents."""

Read = Callable[[str, tuple[object, ...]], Iterable[tuple[Any, ...]]]


def lately_of(read: Read, tenant: str, budget: str, since_ns: int) -> Lately:
    """What was done to a budget's limit for good, lately; `read` is a store's way to read rows."""
    rows = read(_LATELY, (tenant, budget, since_ns, tenant, budget))
    changes = tuple(budget_change(row) for row in rows)
    last = changes[-1] if changes else None
    undone = [] if last is None or last.undoes is None else list(read(_KIND, (tenant, last.undoes)))
    name = budget.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return Lately(
        changes=changes,
        took_back=bool(undone) and undone[0][0] == "adaptive",
        has_incident=bool(list(read(_INCIDENT, (tenant, f"{OF_BUDGET}{name}@%")))),
    )


class AdaptationRows(Statements):
    """What was done lately to limits, in a transaction."""

    def limit_lately(self, tenant: str, budget: str, since_ns: int) -> Lately:
        """What was done to a budget's limit for good: the last of it, and all since an instant."""
        return lately_of(self._rows, tenant, budget, since_ns)
