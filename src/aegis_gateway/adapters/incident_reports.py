"""Incidents as people look at them, read from either store in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.domain.incident import Incident
from aegis_gateway.domain.kpi import IncidentTimes

_FIELDS = ", ".join(Incident.__struct_fields__)

_OPEN = f"""
select {_FIELDS} from incident
 where tenant = ? and closed_ns is null
 order by opened_ns desc
 limit ?
"""  # noqa: S608  # our own names
"""By the index on open incidents."""

_CLOSED = f"""
select {_FIELDS} from incident
 where tenant = ? and closed_ns is not null
 order by closed_ns desc
 limit ?
"""  # noqa: S608  # our own names
"""By the index on closed incidents."""

_ONE = f"select {_FIELDS} from incident where tenant = ? and id = ?"  # noqa: S608  # our own names
"""By the primary key."""


_TIMES = """
select opened_ns, closed_ns, facts,
       (select max(entry.sequence) from entry
         where entry.tenant = incident.tenant and entry.call is not null
           and entry.sequence between cast(substr(incident.id, 10) as bigint) - 64
                                  and cast(substr(incident.id, 10) as bigint) - 1) as before
  from incident
 where tenant = ? and ((opened_ns >= ? and opened_ns < ?) or (closed_ns >= ? and closed_ns < ?))
"""
"""A tenant's incidents are few. An id ends with the place of its entry; what led to it stands a few places before."""

_AT = "select at_ns from entry where tenant = ? and sequence = ?"

_SPENDING = ("actual", "exhaustion")


class IncidentReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def open(self, tenant: str, limit: int) -> list[Incident]:
        """Those that somebody has to look at, the newest first."""
        return _incidents(self._query(_OPEN, (tenant, limit)))

    def closed(self, tenant: str, limit: int) -> list[Incident]:
        """Those that are over, the last closed first."""
        return _incidents(self._query(_CLOSED, (tenant, limit)))

    def times(self, tenant: str, since_ns: int, until_ns: int) -> IncidentTimes:
        """How long it took to open those that were opened in a period, and to close those that were closed in it.

        Opened are those of thresholds of what is spent: what is expected is crossed at no instant.
        """
        opened = detecting_ns = closed = closing_ns = 0
        for row in self._query(_TIMES, (tenant, since_ns, until_ns, since_ns, until_ns)):
            facts, opened_ns, closed_ns = (
                msgspec.json.decode(row["facts"]),
                row["opened_ns"],
                row["closed_ns"],
            )
            if (
                since_ns <= opened_ns < until_ns
                and facts.get("of") in _SPENDING
                and row["before"] is not None
            ):
                opened += 1
                detecting_ns += opened_ns - self._at_ns(tenant, row["before"], opened_ns)
            if closed_ns is not None and since_ns <= closed_ns < until_ns:
                closed += 1
                closing_ns += closed_ns - opened_ns
        return IncidentTimes(opened=opened, detecting_ns=detecting_ns, closed=closed, closing_ns=closing_ns)

    def _at_ns(self, tenant: str, sequence: int, otherwise_ns: int) -> int:
        rows = self._query(_AT, (tenant, sequence))
        return int(rows[0]["at_ns"]) if rows else otherwise_ns

    def incident(self, tenant: str, name: str) -> Incident | None:
        """One by its id."""
        return next(iter(_incidents(self._query(_ONE, (tenant, name)))), None)


def _incidents(rows: Sequence[dict[str, Any]]) -> list[Incident]:
    return [Incident(**{**row, "facts": msgspec.json.decode(row["facts"])}) for row in rows]
