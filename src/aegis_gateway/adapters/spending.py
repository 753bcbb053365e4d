"""What calls have spent, read from either store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import Query, Reports
from aegis_gateway.adapters.rows import decode_legs
from aegis_gateway.application.seeding import SpentCall

_BATCH = 10_000

_CALL = """
select call.call, decided_ns, agent, team, project, connector, tool, model, environment, run, customer, api_key,
"""
"""A call, and what follows."""

_SETTLED = (
    _CALL
    + """
       entry.sequence, entry.body
  from entry join call on call.call = entry.call
 where entry.tenant = ? and entry.sequence > ? and entry.sequence <= ? and entry.type = 'settlement'
   and decided_ns >= ?
 order by entry.sequence
 limit ?
"""
)
"""Settlements in a stretch of the record. By the record's primary key, then the calls'."""

_OPEN = (
    _CALL
    + """
       legs
  from call
 where tenant = ? and state in ('reserved', 'dispatched', 'in_doubt')
"""
)
"""Calls that are not closed. By the index on open calls."""

_DIMENSIONS = ("agent", "team", "project", "connector", "tool", "model", "environment", "run", "customer")


class _SettledLeg(msgspec.Struct):
    budget: str
    scope: str
    window: str
    settled: str


class _Settlement(msgspec.Struct):
    legs: list[_SettledLeg]


class StoredSpending:
    """What calls have spent, by queries."""

    def __init__(self, query: Query) -> None:
        """Read through a store's query."""
        self._query = query
        self._reports = Reports(query)
        self._settlement = msgspec.json.Decoder(_Settlement).decode

    def last_sequence(self, tenant: str) -> int:
        """Where the tenant's record ends."""
        return self._reports.last_sequence(tenant)

    def settled(self, tenant: str, after: int, until: int, since_ns: int) -> Iterator[SpentCall]:
        """Calls admitted since an instant whose settlement stands in a stretch of the record."""
        while rows := self._query(_SETTLED, (tenant, after, until, since_ns, _BATCH)):
            for row in rows:
                legs = self._settlement(row["body"]).legs
                amounts = tuple((leg.budget, leg.scope, leg.window, int(leg.settled)) for leg in legs)
                yield _spent(tenant, row, amounts, is_open=False)
            after = int(rows[-1]["sequence"])

    def unsettled(self, tenant: str) -> Iterator[SpentCall]:
        """Calls that are open."""
        for row in self._query(_OPEN, (tenant,)):
            legs = decode_legs(row["legs"])
            yield _spent(
                tenant,
                row,
                tuple((leg.budget, leg.scope, leg.window, leg.amount) for leg in legs),
                is_open=True,
            )


def _spent(
    tenant: str, row: dict[str, Any], legs: tuple[tuple[str, str, str, int], ...], *, is_open: bool
) -> SpentCall:
    values = {name: row[name] for name in _DIMENSIONS if row[name] is not None}
    return SpentCall(
        call=row["call"],
        admitted_ns=int(row["decided_ns"]),
        is_open=is_open,
        values={"tenant": tenant, "key": row["api_key"], **values},
        legs=legs,
    )
