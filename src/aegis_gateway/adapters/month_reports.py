"""What reports of a month ask besides the sums of usage: what was used of budgets, and what is in doubt.

Rule: reading only, by ranges of indexes, in SQL that both stores understand as it is.
"""

from __future__ import annotations

from aegis_gateway.adapters.reports import Query

_USED = """
select sum(posted) as posted, sum(pending) as pending from standing
 where tenant = ? and budget = ? and scope = '' and starts_ns >= ? and starts_ns < ?
"""
"""What was used in a budget's windows that began in a stretch of time. By the primary key's beginning."""

_IN_HOURS = """
select sum(amount) as amount from budget_hour where tenant = ? and budget = ? and scope = '' and hour >= ? and hour < ?
"""
"""What was used of a budget in some hours. A range of the primary key."""

_IN_DOUBT = """
select count(*) as calls, sum(coalesce(maximum_nano_usd, 0)) as nano_usd from call
 where tenant = ? and state = 'in_doubt'
"""
"""Calls in doubt, and the most that they can come to. By the index on open calls."""


class MonthReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def used(self, tenant: str, budget: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        """What was spent of a budget that isn't split, and what is reserved, in windows that began in a stretch."""
        (row,) = self._query(_USED, (tenant, budget, since_ns, until_ns))
        return int(row["posted"] or 0), int(row["pending"] or 0)

    def used_in_hours(self, tenant: str, budget: str, first: int, end: int) -> int:
        """What was spent of it from one hour on and before another, counted since 1970."""
        (row,) = self._query(_IN_HOURS, (tenant, budget, first, end))
        return int(row["amount"] or 0)

    def in_doubt(self, tenant: str) -> tuple[int, int]:
        """How many calls are in doubt, and what they can have come to at most."""
        (row,) = self._query(_IN_DOUBT, (tenant,))
        return int(row["calls"]), int(row["nano_usd"] or 0)
